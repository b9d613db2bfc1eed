//! What a model needs of a backend.

use holdall_core::{Backend, Conditions, Error, Result};

/// Refuses a backend that does not check all conditions at commit.
pub(crate) fn full_conditions(model: &str, backend: &dyn Backend) -> Result<()> {
    let found = backend.capabilities().conditions;
    if found >= Conditions::Full {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "the model {model} needs a backend that checks all conditions at commit \
         (conditions: Full), else concurrent changes would be lost; this one has {found:?}. \
         Use another backend for it"
    )))
}
