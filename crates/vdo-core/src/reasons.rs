//! Why vdo-core says what it says, about a VsphereCloudConfig or a VDOConfig.

vdo_api::reasons! {
    NOT_CHECKED_YET = "NotCheckedYet" {
        "This has not been checked yet, because something before it is not as it should be.",
        "What is installed keeps running.",
        "See the first condition that is not True.",
    }
    REACHED = "Reached" {
        "A vCenter answers at this address.",
        "VDO keeps looking.",
        "Nothing to do.",
    }
    DNS_FAILURE = "DNSFailure" {
        "The name of the vCenter has no address, or the name service does not answer.",
        "VDO tries again at least every 30 seconds; what is installed keeps running.",
        "Correct spec.vcIp, or the DNS servers of the nodes.",
    }
    CONNECTION_REFUSED = "ConnectionRefused" {
        "The host is there, and nothing listens on the port.",
        "VDO tries again at least every 30 seconds; what is installed keeps running.",
        "Correct spec.vcIp and spec.port, or start the vCenter.",
    }
    VCENTER_TIMEOUT = "Timeout" {
        "The vCenter did not answer in time, or there is no way to it.",
        "VDO tries again at least every 30 seconds; what is installed keeps running.",
        "Look for firewalls between the nodes and the vCenter, and at the load of the vCenter.",
    }
    NOT_A_VCENTER = "NotAVCenter" {
        "Something answers at this address, and it is no vCenter.",
        "Nothing is sent to it; VDO looks again every few minutes.",
        "Correct spec.vcIp and spec.port; an ESXi host is no vCenter.",
    }
    VCENTER_TOO_OLD = "VCenterTooOld" {
        "The vCenter is older than 6.7.",
        "Nothing is sent to it.",
        "Upgrade the vCenter.",
    }
    VCENTER_BUSY = "VCenterBusy" {
        "The vCenter is busy, is still starting, or answered with a fault.",
        "VDO tries again at least every 30 seconds; what is installed keeps running.",
        "Wait; if it stays, look at the vCenter's own health page.",
    }
    ADDRESS_NOT_ALLOWED = "AddressNotAllowed" {
        "The address is a loopback, link-local or unspecified one, or is no host name.",
        "VDO does not connect.",
        "Set spec.vcIp to the name or address of the vCenter, and see what its name resolves to.",
    }
    CERTIFICATE_TRUSTED = "CertificateTrusted" {
        "The certificate of the vCenter was verified.",
        "VDO verifies it again with each connection.",
        "Nothing to do.",
    }
    INSECURE_BY_REQUEST = "InsecureByRequest" {
        "spec.insecure switches the verification of the vCenter's certificate off.",
        "VDO and the drivers send the password to whoever answers at this address.",
        "Set spec.thumbprint or spec.caRef and remove spec.insecure.",
    }
    CERTIFICATE_UNTRUSTED = "CertificateUntrusted" {
        "The certificate of the vCenter is not signed by a known authority, has expired, or is for another name.",
        "No credentials are sent.",
        "Compare the fingerprint in the message with the vCenter's own; if it is the same, run the command in the message.",
    }
    THUMBPRINT_MISMATCH = "ThumbprintMismatch" {
        "The certificate of the vCenter is not the one that spec.thumbprint names.",
        "No credentials are sent.",
        "If the certificate was renewed on purpose, run the command in the message.",
    }
    TLS_FAILED = "TLSFailed" {
        "The peer does not speak TLS, or no common version was found.",
        "No credentials are sent.",
        "Correct spec.port; a vCenter from 6.7 on speaks TLS 1.2.",
    }
    TRUST_SETTINGS_INVALID = "TrustSettingsInvalid" {
        "spec.thumbprint or the certificates of spec.caRef cannot be read.",
        "VDO does not connect.",
        "Correct what the message names.",
    }
    LOGGED_IN = "LoggedIn" {
        "The vCenter accepted the credentials.",
        "VDO keeps one session.",
        "Nothing to do.",
    }
    LOGIN_UNDER_WAY = "LoginUnderWay" {
        "A login is recorded and under way.",
        "VDO waits for the answer. After a crash in the middle it is tried again after 15 seconds; if that ends the same way, every 12 minutes.",
        "Wait, or set the annotation vdo.vmware.com/retry-login to a new value.",
    }
    LOGIN_REFUSED = "LoginRefused" {
        "The vCenter refused the user name or the password.",
        "The login is not repeated for this version of the Secret but once an hour, so that no account is locked.",
        "Correct the Secret; it is tried at once. Or set the annotation vdo.vmware.com/retry-login to a new value.",
    }
    PRIVILEGE_MISSING = "PrivilegeMissing" {
        "The account may log in, and lacks a privilege.",
        "VDO looks again every few minutes; what is installed keeps running.",
        "Give the account the privilege that the message names.",
    }
    SECRET_MISSING = "SecretMissing" {
        "The Secret that spec.credentials names is not there, or VDO may not see it.",
        "What is installed keeps running.",
        "Create it with type kubernetes.io/basic-auth or the label vdo.vmware.com/credentials=true; one in kube-system must be named in the chart value global.credentials.kubeSystemSecrets.",
    }
    SECRET_UNREADABLE = "SecretUnreadable" {
        "The Secret that spec.credentials names could not be read.",
        "What is installed keeps running.",
        "Give VDO the right to read it by upgrading the chart again; its value global.credentials.kubeSystemSecrets names Secrets in kube-system.",
    }
    SECRET_INVALID = "SecretInvalid" {
        "The Secret does not hold a usable username and password.",
        "No login is tried; what is installed keeps running.",
        "Correct the key that the message names.",
    }
    SECRET_NOT_FOR_SERVER = "SecretNotForServer" {
        "The Secret belongs to another server.",
        "It is not sent to this one.",
        "Add this server to the annotation vdo.vmware.com/server of the Secret, or use another Secret.",
    }
    DUPLICATE_SERVER = "DuplicateServer" {
        "An older VsphereCloudConfig names the same server with another Secret.",
        "This one is not used for a login.",
        "Use one VsphereCloudConfig per vCenter, or the same Secret in both.",
    }
    DATACENTERS_FOUND = "DatacentersFound" {
        "Every datacenter of the spec was found, and its machines were read.",
        "VDO looks again every ten minutes.",
        "Nothing to do.",
    }
    DATACENTER_MISSING = "DatacenterMissing" {
        "A datacenter of the spec does not exist in this vCenter.",
        "VDO looks again every minute; what is installed keeps running.",
        "Correct spec.datacenters; case matters.",
    }
    DATACENTER_AMBIGUOUS = "DatacenterAmbiguous" {
        "Several datacenters have the name that the spec gives.",
        "VDO looks again every minute; what is installed keeps running.",
        "Write the inventory path of the one that is meant.",
    }
    VCENTER_VERIFIED = "VCenterVerified" {
        "The vCenter is reached, trusted, logged in to, and has what the spec names.",
        "VDO keeps looking.",
        "Nothing to do.",
    }
    NOT_ACTIVE = "NotActive" {
        "Another VDOConfig of this namespace is the one that counts.",
        "Nothing is done for this one.",
        "Delete one of the two.",
    }
    NOT_IN_OPERATORS_NAMESPACE = "NotInOperatorsNamespace" {
        "The object is in another namespace than the operators, and only objects of their namespace count.",
        "Nothing is done for it, and nothing that it refers to is read.",
        "Create it in the namespace that the message names, with what it refers to, and delete this one.",
    }
    NOT_DECODABLE = "NotDecodable" {
        "A field of the object holds what this release of VDO cannot read.",
        "The object is left out of account; what is installed keeps running.",
        "Correct the field that the message names; kubectl explain says what it may hold.",
    }
    CRDS_OUTDATED = "CRDsOutdated" {
        "The CRDs of the cluster are older than this release of VDO, and do not know every field that it uses.",
        "What they do not know is left out of what is written; everything else goes on.",
        "Upgrade the chart vdo-crds, or apply the CRDs of this release; it is noticed within five minutes.",
    }
    VCENTER_CONFIG_UNREADABLE = "VsphereCloudConfigUnreadable" {
        "A VsphereCloudConfig that the VDOConfig names does not decode.",
        "What is installed keeps running.",
        "Correct the field that the message names.",
    }
    RELEASES_CHOSEN = "ReleasesChosen" {
        "A release fits for each driver that is wanted.",
        "VDO installs it, or keeps it.",
        "Nothing to do.",
    }
    VCENTERS_NOT_READ = "VCentersNotRead" {
        "A first installation waits until every vCenter that is named was verified once, and its ESXi hosts were looked at where a row of the matrix has a bound for them.",
        "Nothing is installed.",
        "See the conditions of the VsphereCloudConfigs that the message names.",
    }
    MATRIX_INVALID = "MatrixInvalid" {
        "The compatibility matrix cannot be read.",
        "What is installed keeps running and is repaired; nothing new is rolled out.",
        "Correct the place that the message names, or remove the source to use the built-in matrix.",
    }
    TWO_MATRICES = "TwoMatrices" {
        "There is more than one source of the compatibility matrix.",
        "What is installed keeps running and is repaired; nothing new is rolled out.",
        "Keep one of the sources that the message names.",
    }
    MATRIX_NOT_FETCHED = "MatrixNotFetched" {
        "The compatibility matrix is at an address, and is being fetched for the first time.",
        "What is installed keeps running and is repaired; nothing new is rolled out.",
        "Wait half a minute.",
    }
    MATRIX_FETCH_FAILED = "MatrixFetchFailed" {
        "The compatibility matrix could not be fetched from its address.",
        "The last good copy counts; without one what is installed keeps running, and nothing new is rolled out. It is tried again, at most every ten minutes.",
        "The message says what stands in the way: the name, the network, a proxy (chart value proxy), the certificate (chart value caBundle), or the server's answer.",
    }
    MATRIX_NOT_TRUSTED = "MatrixNotTrusted" {
        "The compatibility matrix at the address is not the one with the pinned digest, or is not signed with the given key.",
        "It is not used. The last good copy counts; without one nothing new is rolled out.",
        "Find out who changed it. If the change is meant, set the digest of the new matrix, or have it signed.",
    }
    MATRIX_OUTDATED = "MatrixOutdated" {
        "The compatibility matrix at the address has a lower serial than the one that was read before: somebody put an old copy there, or sends one.",
        "It is not used. The copy that was read before counts.",
        "Have a matrix with a higher serial published. If the old one is meant, delete the ConfigMap vdo-matrix-copy and restart vdo-core.",
    }
    MATRIX_NOT_SETTLED = "MatrixNotSettled" {
        "The compatibility matrix changed, and something installed would move because of it.",
        "What is installed keeps running and is repaired. The matrix is read once more, and has to stand for two minutes before something installed moves because of it; a first installation does not wait.",
        "Wait until the time in the message. If the change was not meant, put the matrix back before.",
    }
    BUNDLE_UNSUPPORTED = "BundleUnsupported" {
        "The nearest release of the compatibility matrix is one that this version of VDO cannot build. VDO applies no manifests, so the deploymentPath of a release that it does not know does nothing.",
        "What is installed keeps running and is repaired; nothing new is rolled out.",
        "Add a row for a release that this version can build, as vdoctl matrix show lists them, or upgrade VDO to one that knows this release.",
    }
    MAY_BE_UPGRADED = "MayBeUpgraded" {
        "Every driver that is installed fits the next minor of Kubernetes, too.",
        "Nothing; a driver moves only when it is asked to.",
        "Upgrade when you like. The message says which driver to move afterwards.",
    }
    DRIVERS_FIRST = "DriversFirst" {
        "A driver that is installed is not made for the next minor of Kubernetes, and another release is made for both.",
        "Nothing; a driver moves only when it is asked to.",
        "Before you upgrade Kubernetes, pin the release that the message names and wait until Ready is True again.",
    }
    NOTHING_FITS_NEXT = "NothingFitsNext" {
        "No release of the matrix is made for the next minor of Kubernetes.",
        "Nothing; what is installed would keep running after an upgrade, at your own risk.",
        "Wait with the upgrade of Kubernetes until a newer VDO, or a matrix of yours, has a release that is made for it.",
    }
    KUBERNETES_VERSION_UNKNOWN = "KubernetesVersionUnknown" {
        "The version that the API server reports cannot be read.",
        "What is installed keeps running; nothing new is rolled out.",
        "See what kubectl version prints.",
    }
    NODES_UNREADABLE = "NodesUnreadable" {
        "The Nodes, or the machines behind them, have not been read.",
        "A first installation waits.",
        "Wait a minute; if it stays, the message says what could not be read.",
    }
    NO_POD_NETWORK = "NoPodNetwork" {
        "No node is Ready with a working pod network.",
        "The storage driver is not rolled out; the cloud provider is.",
        "Install a pod network, and see why no node is Ready.",
    }
    NODES_WAIT = "NodesWait" {
        "Some nodes are not initialised by a cloud provider yet.",
        "VDO counts them; they never hold what works for the others.",
        "See status.nodes.findings for the nodes and what stands in the way.",
    }
    OPERATOR_SILENT = "OperatorSilent" {
        "The operator of a driver does not answer.",
        "The driver itself keeps running.",
        "See whether the pods of the operator that the message names run.",
    }
    WORK_UNDER_WAY = "WorkUnderWay" {
        "A driver is being installed, changed or removed.",
        "VDO goes on until it is done.",
        "Wait; the message says what is under way.",
    }
    VM_NOT_FOUND = "VMNotFound" {
        "No machine of the named vCenters and datacenters has the UUID that the node reports.",
        "The cloud provider cannot initialise the node, and never deletes one.",
        "Name the vCenter and datacenter that hold the machine, or give the account the right to see it.",
    }
    TOOLS_NOT_RUNNING = "ToolsNotRunning" {
        "VMware Tools do not run in the machine of a node that is not initialised.",
        "The cloud provider finds no address for the node.",
        "Install or start open-vm-tools in the machine.",
    }
    HOST_NAME_MISMATCH = "HostNameMismatch" {
        "The machine of a node that is not initialised calls itself something else than the node.",
        "The cloud provider goes by the UUID; older releases go by the name.",
        "Give the machine the name of its node, if the node stays uninitialised.",
    }
    WAITS_FOR_CLOUD_PROVIDER = "WaitsForCloudProvider" {
        "A node carries the taint that a cloud provider takes off.",
        "Only pods that tolerate the taint run there.",
        "Wait for CPIReady; if the VDOConfig has no spec.cloudProvider, set it.",
    }
}
