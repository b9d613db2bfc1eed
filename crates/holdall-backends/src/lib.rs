//! holdall-backends
