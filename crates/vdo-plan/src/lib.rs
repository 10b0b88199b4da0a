//! vdo-plan
