//! holdall-cli
