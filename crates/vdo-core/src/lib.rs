//! vdo-core
