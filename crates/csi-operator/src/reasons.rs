//! The reasons that only csi-operator gives.

vdo_api::reasons! {
    CSI_RELEASE_UNKNOWN = "CSIReleaseUnknown" {
        "This version of VDO cannot build the objects of the chosen CSI release.",
        "What is installed keeps running.",
        "Choose a release that `vdoctl matrix explain --driver csi` lists, or upgrade VDO.",
    }
    CSI_CREDENTIALS_UNSUITABLE = "CSICredentialsUnsuitable" {
        "vCenter accepts the credentials, but the storage driver would refuse the user or cannot read the password.",
        "What is installed keeps running with the credentials it has.",
        "Mend the key named in the message. The user is name@domain or DOMAIN\\name of plain letters and digits.",
    }
    CSI_TRUST_UNUSABLE = "CSITrustUnusable" {
        "The certificate authority or fingerprint that the vCenter is verified with cannot be given to the driver.",
        "What is installed keeps running; nothing is rendered that would trust less.",
        "Put PEM certificates into the ConfigMap that spec.caRef names, or mend spec.thumbprint.",
    }
    CSI_DATACENTER_UNREPRESENTABLE = "CSIDatacenterUnrepresentable" {
        "The driver's list of datacenters cannot hold this name: it separates names by commas.",
        "What is installed keeps running.",
        "Rename the datacenter in vCenter, or leave spec.datacenters empty to use all of them.",
    }
    CSI_CONFIGURATION_UNREPRESENTABLE = "CSIConfigurationUnrepresentable" {
        "A value has characters that the driver's configuration format cannot carry.",
        "What is installed keeps running.",
        "Remove the line break or control character from the field named in the message.",
    }
    CSI_KUBELET_PATH_KEPT = "CSIKubeletPathKept" {
        "spec.storageProvider.customKubeletPath was changed while volumes are mounted below the path before.",
        "The driver runs on with the path before; everything else of the spec is rolled out.",
        "Drain the nodes or end the pods that use the volumes; the new path is rolled out once none is attached.",
    }
    CSI_NETWORK_INVALID = "CSINetworkInvalid" {
        "An entry of netPermissions names no network.",
        "What is installed keeps running.",
        "Use *, an IP address, or a network such as 10.0.0.0/8.",
    }
    CSI_NETWORKS_OVERLAP = "CSINetworksOverlap" {
        "Two entries of netPermissions overlap and give different rights.",
        "Both are given to vCenter, which decides; the driver is rolled out.",
        "Make the networks disjoint, or their rights equal.",
    }
    CSI_DATASTORES_IGNORED = "CSIDatastoresIgnored" {
        "Driver releases since 3.2 no longer read vsanDataStoreUrl.",
        "File volumes may be placed on every datastore that vSAN file service offers to this user.",
        "Restrict them by a storage policy or by the user's privileges, and remove vsanDataStoreUrl.",
    }
    CSI_CERTIFICATE_NOT_VERIFIED = "CSICertificateNotVerified" {
        "spec.insecure is true: the storage driver does not verify the vCenter's certificate.",
        "The driver is rolled out; whoever can redirect its traffic can read the password.",
        "Set spec.caRef or spec.thumbprint and remove spec.insecure.",
    }
    CSI_CLUSTER_ID_CONFLICT = "CSIClusterIDConflict" {
        "The driver's own ConfigMap names another cluster id than the one recorded at the first installation.",
        "Nothing new is rolled out: a changed id would make vCenter drop this cluster's volumes.",
        "Find out which id vCenter shows for this cluster's volumes and remove the wrong ConfigMap.",
    }
    CSI_CLUSTER_ID_UNUSABLE = "CSIClusterIDUnusable" {
        "The cluster id that was found is empty, longer than 64 characters, or cannot be written.",
        "Nothing new is rolled out.",
        "Mend the object named in the message.",
    }
    CSI_CLUSTER_ID_UNREADABLE = "CSIClusterIDUnreadable" {
        "Whether an earlier installation left a cluster id cannot be read.",
        "Nothing new is rolled out: a guessed id would be a second owner for existing volumes.",
        "Give csi-operator the right named in the message; it tries again.",
    }
    CSI_SNAPSHOT_API_UNREADABLE = "CSISnapshotAPIUnreadable" {
        "Whether the cluster serves snapshot.storage.k8s.io/v1 cannot be read.",
        "What is installed keeps running, with or without its snapshotter.",
        "It is tried again; see whether the API server answers /apis.",
    }
}
