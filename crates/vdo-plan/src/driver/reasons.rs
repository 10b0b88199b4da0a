//! Why a driver is not where the user wants it; the same words for both drivers.

vdo_api::reasons! {
    INSTALLED = "Installed" {
        "The chosen release is installed with the current configuration and was seen working.",
        "VDO watches it and repairs drift.",
        "Nothing to do.",
    }
    NOT_WANTED = "NotWanted" {
        "The spec does not ask for this driver, and nothing of it is installed.",
        "Nothing.",
        "Set spec.cloudProvider or spec.storageProvider to have it installed.",
    }
    ROLLING_OUT = "RollingOut" {
        "A revision is being rolled out.",
        "VDO applies it stage by stage and waits until it works.",
        "Wait; the message says what is waited for.",
    }
    REMOVING = "Removing" {
        "The driver is being removed.",
        "Its objects are deleted, the workload first.",
        "Wait; the finalizer goes when nothing is left.",
    }
    NOT_WORKING = "NotWorking" {
        "The installed release does not work at the moment.",
        "VDO keeps its objects as they should be and watches; it changes nothing else.",
        "The message names the pod or node and what it says.",
    }
    WAITS_FOR_GATES = "WaitsForGates" {
        "vdo-core has not yet decided about this generation of the VDOConfig.",
        "What is installed keeps running.",
        "Wait a minute; if it stays, see whether the pods of vdo-core run.",
    }
    NO_RELEASE_FITS = "NoReleaseFits" {
        "No release in the compatibility matrix fits this cluster and its vCenters.",
        "What is installed keeps running and is repaired.",
        "See the condition CompatibilityResolved for the nearest release and what stands in its way.",
    }
    GATE_HELD = "GateHeld" {
        "vdo-core holds the change back.",
        "What is installed keeps running and is repaired.",
        "The message says what is waited for.",
    }
    DOWNGRADE_NOT_ASKED = "DowngradeNotAsked" {
        "The chosen release is older than the one that is installed or being rolled out.",
        "The newer one stays.",
        "Pin the older release with spec.cloudProvider.version or spec.storageProvider.version and set downgrade beside it to Allow if you mean it.",
    }
    REVISION_REFUSED = "RevisionRefused" {
        "This revision was rolled back because it did not work.",
        "The revision before it keeps running.",
        "Mend what the message says, then set the annotation vdo.vmware.com/retry-rollout of the VDOConfig to a new value; or pin another release.",
    }
    ROLLOUT_TIMED_OUT = "RolloutTimedOut" {
        "The roll-out of this revision did not work within its time, and was rolled back.",
        "The revision before it keeps running, and CPIReady or CSIReady says RevisionRefused for as long as this one is asked for.",
        "Mend what the message beside it says, then set the annotation vdo.vmware.com/retry-rollout of the VDOConfig to a new value; or pin another release.",
    }
    CPI_NOT_READY = "CPINotReady" {
        "The storage driver waits for the cloud provider.",
        "Nothing of the storage driver changes; a new password still reaches it.",
        "See the condition CPIReady.",
    }
    CPI_STILL_THERE = "CPIStillThere" {
        "The cloud provider is not wanted any more, and not gone yet.",
        "The storage driver waits.",
        "Wait until it is removed.",
    }
    CLOUD_PROVIDER_REQUIRED = "CloudProviderRequired" {
        "The chosen storage driver needs a cloud provider, or a node waits for one, and the spec asks for none.",
        "The storage driver is not installed.",
        "Set spec.cloudProvider with the vCenters that hold the nodes.",
    }
    CSI_STILL_THERE = "CSIStillThere" {
        "The cloud provider is to be removed while the storage driver is still there.",
        "The cloud provider stays and is repaired.",
        "Remove spec.storageProvider first, or wait until its removal has ended.",
    }
    VOLUMES_EXIST = "VolumesExist" {
        "The storage driver is to be removed while volumes of it exist.",
        "The storage driver stays, is repaired and gets new passwords.",
        "Delete the volumes that the message names, or set spec.deletionPolicy to Orphan.",
    }
    OBJECTS_UNREADABLE = "ObjectsUnreadable" {
        "The objects that decide could not be read.",
        "Nothing is removed and nothing new is started.",
        "The message says what could not be read and why.",
    }
    DRIFT_REPORTED = "DriftReported" {
        "Objects of the driver are not as VDO applied them, and spec.driftRepair says Report.",
        "They stay as they are.",
        "Set spec.driftRepair to Repair to have them put back, or apply the wish through the VDOConfig.",
    }
    DRIFT_REPAIRED = "DriftRepaired" {
        "Somebody changed or deleted an object of the driver, and VDO put it back.",
        "VDO keeps watching it.",
        "Stop whoever the event names from changing it, or set spec.driftRepair to Report.",
    }
    DRIFT_FIGHT = "DriftFight" {
        "Somebody changes an object of the driver again and again.",
        "VDO leaves it alone for a while, longer each time, and then puts it back.",
        "Stop the manager that the message names from changing it, or set spec.driftRepair to Report.",
    }
    ENDING_UNKNOWN = "EndingUnknown" {
        "The VDOConfig is being deleted, and whether VDO itself is could not be read.",
        "Nothing is removed.",
        "See whether the roles of the chart are there; the message says what could not be read.",
    }
    PAUSED = "Paused" {
        "The annotation vdo.vmware.com/paused-until of the VDOConfig keeps VDO from writing anything but status.",
        "The drivers run as they are.",
        "Remove the annotation, or wait until the time it names.",
    }
    SETTLING = "Settling" {
        "The operator has just taken over from another replica that did not end cleanly.",
        "It waits a few seconds, until no request of the other can still be under way.",
        "Nothing to do.",
    }
}
