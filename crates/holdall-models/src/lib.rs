//! holdall-models
