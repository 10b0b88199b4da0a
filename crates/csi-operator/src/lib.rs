//! csi-operator
