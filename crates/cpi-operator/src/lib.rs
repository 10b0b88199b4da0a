//! cpi-operator
