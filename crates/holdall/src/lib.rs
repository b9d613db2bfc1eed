//! holdall
