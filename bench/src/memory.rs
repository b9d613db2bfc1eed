//! How much memory this process has.

use crate::Result;

/// Resident memory at a moment, after which its peak counts anew.
pub(crate) struct Memory(u64);

impl Memory {
    pub(crate) fn mark() -> Result<Self> {
        let unknown = |error| format!("this system does not tell the peak of memory: {error}");
        std::fs::write("/proc/self/clear_refs", "5").map_err(unknown)?;
        Ok(Self(resident()?))
    }

    pub(crate) fn grown(&self) -> Result<u64> {
        Ok(status("VmHWM:")?.saturating_sub(self.0))
    }
}

fn status(field: &str) -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next());
    Ok(kib.ok_or("this system tells no memory")?.parse::<u64>()? * 1024)
}

/// Resident memory now.
pub(crate) fn resident() -> Result<u64> {
    status("VmRSS:")
}
