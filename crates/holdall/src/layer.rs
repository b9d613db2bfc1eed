//! Layers by name, and the order that they stand in.

use holdall_core::layers::Namespace;
use holdall_core::{DynBackend, Error, Result};

/// The one order of layers, from the outermost, which sees a call first, to
/// the innermost:
///
/// 1. `namespace`: inside of it, everything is per tenant.
///
/// A layer may stand several times in a row.
const ORDER: &[&str] = &["namespace"];

/// A layer to put around a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layer {
    /// Shows the collections of one namespace: see [`Namespace`].
    Namespace {
        /// The namespace: 1 to 64 bytes without a slash or U+0000.
        name: String,
    },
}

impl Layer {
    /// The name of its kind, as it stands in a configuration.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Namespace { .. } => "namespace",
        }
    }

    /// The kinds there are, in the order in which they stand around a backend,
    /// outermost first.
    pub fn kinds() -> &'static [&'static str] {
        ORDER
    }

    /// Puts it around a backend.
    ///
    /// # Errors
    /// Those of the layer: what it is set to breaks a rule, or the backend
    /// lacks what it needs.
    pub fn wrap(&self, inner: DynBackend) -> Result<DynBackend> {
        match self {
            Self::Namespace { name } => Ok(Namespace::new(inner, name)?.into()),
        }
    }
}

/// Puts layers around a backend, the first one outermost.
pub(crate) fn wrap_all(backend: DynBackend, layers: &[Layer]) -> Result<DynBackend> {
    let kinds: Vec<_> = layers.iter().map(Layer::kind).collect();
    check_order(ORDER, &kinds)?;
    layers
        .iter()
        .rev()
        .try_fold(backend, |inner, layer| layer.wrap(inner))
}

/// Checks that layers stand in the one order.
pub(crate) fn check_order(order: &[&str], kinds: &[&str]) -> Result<()> {
    let rank = |kind: &str| order.iter().position(|known| *known == kind);
    for pair in kinds.windows(2) {
        if let [outer, inner] = pair
            && rank(outer) > rank(inner)
        {
            return Err(Error::invalid(format!(
                "the layer {inner:?} stands inside of {outer:?}, and must stand outside; \
                 the order from the outermost is {}",
                order.join(", ")
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_stand_in_one_order() {
        let order = ["namespace", "cache", "retry"];
        for sound in [
            &[][..],
            &["retry"],
            &["namespace", "retry"],
            &["namespace", "namespace", "cache"],
        ] {
            assert!(check_order(&order, sound).is_ok(), "{sound:?}");
        }
        let error = check_order(&order, &["namespace", "retry", "cache"]).unwrap_err();
        assert_eq!(
            error.message(),
            "the layer \"cache\" stands inside of \"retry\", and must stand outside; \
             the order from the outermost is namespace, cache, retry"
        );
    }
}
