package main

import (
	"context"
	"testing"

	"github.com/vmware/govmomi/cns"
	cnstypes "github.com/vmware/govmomi/cns/types"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/vim25/types"
)

// createVolume makes a block volume as the CSI driver does.
func createVolume(t *testing.T, b *bed, name string) {
	t.Helper()
	ctx := context.Background()
	client := b.client().Client
	dc, err := find.NewFinder(client).DefaultDatacenter(ctx)
	must(t, err)
	finder := find.NewFinder(client)
	finder.SetDatacenter(dc)
	store, err := finder.DefaultDatastore(ctx)
	must(t, err)
	storage, err := cns.NewClient(ctx, client)
	must(t, err)
	task, err := storage.CreateVolume(ctx, []cnstypes.CnsVolumeCreateSpec{{
		Name:       name,
		VolumeType: string(cnstypes.CnsVolumeTypeBlock),
		Datastores: []types.ManagedObjectReference{store.Reference()},
		Metadata: cnstypes.CnsVolumeMetadata{ContainerCluster: cnstypes.CnsContainerCluster{
			ClusterType: string(cnstypes.CnsClusterTypeKubernetes), ClusterId: "c1", VSphereUser: admin1,
		}},
		BackingObjectDetails: &cnstypes.CnsBlockBackingDetails{CnsBackingObjectDetails: cnstypes.CnsBackingObjectDetails{CapacityInMb: 64}},
	}})
	must(t, err)
	info, err := task.WaitForResult(ctx, nil)
	must(t, err)
	if info == nil {
		t.Fatal("no result")
	}
}
