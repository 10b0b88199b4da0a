//! What is wrong with a node, where no operator has a word for it.

vdo_api::reasons! {
    CSI_NOT_REGISTERED = "CSINotRegistered" {
        "The storage driver is installed, and the kubelet of the node does not know it.",
        "Pods with volumes of the driver do not start on the node.",
        "See why the driver's pod on the node does not work: kubectl get pods -n vmware-system-csi -o wide",
    }
    PROVIDER_ID_MISSING = "ProviderIDMissing" {
        "The node has no provider id, and does not carry the taint that asks a cloud provider for one.",
        "A cloud provider leaves such a node alone, and the storage driver does not find its machine.",
        "Start its kubelet with --cloud-provider=external, and put the taint on it: kubectl taint node NAME node.cloudprovider.kubernetes.io/uninitialized=true:NoSchedule",
    }
}
