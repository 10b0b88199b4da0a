//! The registration of the driver with the cluster. Its spec is immutable for the most part, so it says no more than
//! what every release and every earlier installation says too.

use k8s_openapi::api::storage::v1::{CSIDriver, CSIDriverSpec};
use vdo_api::names::CSI_DRIVER_NAME;

use super::cluster_wide;

pub(super) fn build() -> CSIDriver {
    CSIDriver {
        metadata: cluster_wide(CSI_DRIVER_NAME),
        spec: CSIDriverSpec {
            attach_required: Some(true),
            pod_info_on_mount: Some(false),
            ..CSIDriverSpec::default()
        },
    }
}
