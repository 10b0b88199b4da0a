package main

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/cns"
	cnstypes "github.com/vmware/govmomi/cns/types"
	vimsession "github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	// The services that the CSI driver calls besides vSphere's own.
	_ "github.com/vmware/govmomi/cns/simulator"
	_ "github.com/vmware/govmomi/lookup/simulator"
	_ "github.com/vmware/govmomi/pbm/simulator"
	_ "github.com/vmware/govmomi/ssoadmin/simulator"
	_ "github.com/vmware/govmomi/sts/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator"
	_ "github.com/vmware/govmomi/vsan/simulator"
	_ "github.com/vmware/govmomi/vslm/simulator"
)

// vcenter is the simulated vCenter without its front: inventory, services, version.
type vcenter struct {
	model      *simulator.Model
	server     *simulator.Server
	users      *users
	privileges *privileges
	inventory  *inventory
}

type version struct {
	Version    string `json:"version"`
	APIVersion string `json:"apiVersion"`
	Build      string `json:"build"`
}

func newVCenter(o inventoryOptions, v version, users *users, advertise string) (*vcenter, error) {
	model := simulator.VPX()
	model.Datacenter = len(o.datacenters)
	model.Cluster, model.ClusterHost, model.Host = 1, 3, 0
	model.Machine = 0 // ours are made in inventory.go, with the UUIDs we want
	if err := model.Create(); err != nil {
		return nil, err
	}
	vc := &vcenter{model: model, users: users, privileges: newPrivileges(users)}
	// From here on the simulator's data lies on disk.
	if err := vc.furnish(o, v, advertise); err != nil {
		vc.remove()
		return nil, err
	}
	return vc, nil
}

func (vc *vcenter) furnish(o inventoryOptions, v version, advertise string) error {
	service := vc.model.Service
	service.RegisterEndpoints = true
	// The simulator calls itself in places (tasks of the REST services), over this loopback listener.
	service.Listen = &url.URL{Host: "127.0.0.1:0", User: url.UserPassword(vc.users.inner, vc.users.innerPassword)}
	registry := vc.model.Map()
	vc.privileges.take(registry)
	vc.server = service.NewServer()
	// After NewServer: the identity service, registered there, brings a check of its own.
	registry.SessionManager().ValidLogin = func(login *types.Login) bool {
		return vc.users.accepts(login.UserName, login.Password)
	}

	vc.nameItself(o.seed, advertise)
	vc.setVersion(v)
	var err error
	vc.inventory, err = newInventory(vc.model, o)
	return err
}

// nameItself replaces the address of the loopback listener wherever the simulator tells it to clients.
func (vc *vcenter) nameItself(seed, advertise string) {
	vc.withServiceInstance(func(about *types.AboutInfo) {
		about.InstanceUuid = uuid.NewSHA1(uuid.NameSpaceOID, []byte(seed)).String()
	})
	registry := vc.model.Map()
	registry.SessionManager().ServiceHostName = advertise
	for _, setting := range registry.OptionManager().Setting {
		option := setting.GetOptionValue()
		value, isText := option.Value.(string)
		if !isText || !(strings.HasSuffix(option.Key, ".uri") || option.Key == "vcsim.server.url") {
			continue
		}
		if endpoint, err := url.Parse(value); err == nil {
			endpoint.Scheme, endpoint.Host, endpoint.User = "https", advertise, nil
			option.Value = endpoint.String()
		}
	}
}

func (vc *vcenter) withServiceInstance(change func(*types.AboutInfo)) {
	registry := vc.model.Map()
	instance := registry.Get(vim25.ServiceInstance).(*simulator.ServiceInstance)
	registry.WithLock(vc.model.Service.Context, instance, func() { change(&instance.Content.About) })
}

// setVersion leaves out nothing that clients read; what v does not name follows from its version.
func (vc *vcenter) setVersion(v version) {
	if v.APIVersion == "" {
		v.APIVersion = v.Version + ".0"
	}
	vc.withServiceInstance(func(about *types.AboutInfo) {
		if v.Build != "" {
			about.Build = v.Build
		}
		about.Version, about.ApiVersion = v.Version, v.APIVersion
		about.FullName = fmt.Sprintf("%s %s build-%s", about.Name, v.Version, about.Build)
		about.LicenseProductVersion = majorMinor(v.Version)
	})
}

func (vc *vcenter) about() version {
	var v version
	vc.withServiceInstance(func(about *types.AboutInfo) {
		v = version{Version: about.Version, APIVersion: about.ApiVersion, Build: about.Build}
	})
	return v
}

func majorMinor(v string) string {
	parts := strings.SplitN(v, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// asInner runs f with a client that the front does not see: it is neither counted nor broken.
func (vc *vcenter) asInner(ctx context.Context, f func(*govmomi.Client) error) error {
	client, err := govmomi.NewClient(ctx, vc.server.URL, true)
	if err != nil {
		return err
	}
	defer func() { _ = client.Logout(ctx) }()
	return f(client)
}

// endSessions lets the simulator forget sessions; one that is gone already is no fault.
func (vc *vcenter) endSessions(ctx context.Context, keys []string) error {
	return vc.asInner(ctx, func(client *govmomi.Client) error {
		manager := vimsession.NewManager(client.Client)
		for _, key := range keys {
			if err := manager.TerminateSession(ctx, []string{key}); err != nil && !strings.Contains(err.Error(), "NotFound") {
				return err
			}
		}
		return nil
	})
}

type volume struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Type       string `json:"type"`
	Datastore  string `json:"datastore"`
	CapacityMB int64  `json:"capacityMb"`
	Cluster    string `json:"cluster"`
}

func (vc *vcenter) volumes(ctx context.Context) ([]volume, error) {
	list := []volume{}
	err := vc.asInner(ctx, func(client *govmomi.Client) error {
		storage, err := cns.NewClient(ctx, client.Client)
		if err != nil {
			return err
		}
		found, err := storage.QueryVolume(ctx, &cnstypes.CnsQueryFilter{})
		if err != nil {
			return err
		}
		for _, v := range found.Volumes {
			row := volume{
				ID: v.VolumeId.Id, Name: v.Name, Type: v.VolumeType, Datastore: v.DatastoreUrl,
				Cluster: v.Metadata.ContainerCluster.ClusterId,
			}
			if v.BackingObjectDetails != nil {
				row.CapacityMB = v.BackingObjectDetails.GetCnsBackingObjectDetails().CapacityInMb
			}
			list = append(list, row)
		}
		return nil
	})
	return list, err
}

func (vc *vcenter) remove() {
	if vc.server != nil {
		vc.server.Close()
	}
	vc.model.Remove()
}
