package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
)

type inventoryOptions struct {
	datacenters           []string
	vms                   int
	prefix, seed, firstIP string
	file                  string
}

// machine is a virtual machine as tests name it. Datacenter is the inventory path without the leading slash.
type machine struct {
	Name       string `json:"name"`
	UUID       string `json:"uuid"`
	IP         string `json:"ip"`
	HostName   string `json:"hostName"`
	Datacenter string `json:"datacenter"`
	Power      string `json:"power"`
}

const (
	powerOn  = "on"
	powerOff = "off"
)

var (
	errNoMachine     = errors.New("no such virtual machine")
	errMachineExists = errors.New("there is a virtual machine of that name")
)

// inventory makes virtual machines and remembers them in the order they were made.
type inventory struct {
	client   *vim25.Client
	registry *simulator.Registry
	seed     string
	file     string
	sites    map[string]*site

	mu   sync.Mutex
	rows []machine
	refs map[string]*object.VirtualMachine
}

// site is where the machines of one datacenter go.
type site struct {
	folder  *object.Folder
	pool    *object.ResourcePool
	network types.BaseVirtualDeviceBackingInfo
}

func newInventory(model *simulator.Model, o inventoryOptions) (*inventory, error) {
	ctx := context.Background()
	client, err := vim25.NewClient(ctx, model.Service)
	if err != nil {
		return nil, err
	}
	inv := &inventory{
		client: client, registry: model.Map(), seed: o.seed, file: o.file,
		sites: map[string]*site{}, refs: map[string]*object.VirtualMachine{},
	}
	for i, name := range o.datacenters {
		if err := inv.open(ctx, fmt.Sprintf("DC%d", i), name); err != nil {
			return nil, fmt.Errorf("datacenter %s: %w", name, err)
		}
	}
	ip, err := netip.ParseAddr(o.firstIP)
	if err != nil {
		return nil, err
	}
	for i := range o.vms {
		m := machine{Name: fmt.Sprintf("%s%d", o.prefix, i), IP: ip.String(), Datacenter: o.datacenters[i%len(o.datacenters)]}
		if err := inv.create(ctx, m); err != nil {
			return nil, fmt.Errorf("virtual machine %s: %w", m.Name, err)
		}
		ip = ip.Next()
	}
	return inv, inv.save()
}

// open gives the simulator's datacenter the name and folder wanted, and finds the places for machines in it.
func (inv *inventory) open(ctx context.Context, made, wanted string) error {
	if _, twice := inv.sites[wanted]; twice {
		return errors.New("named twice")
	}
	finder := find.NewFinder(inv.client)
	dc, err := finder.Datacenter(ctx, "/"+made)
	if err != nil {
		return err
	}
	finder.SetDatacenter(dc)
	folders, err := dc.Folders(ctx)
	if err != nil {
		return err
	}
	pool, err := finder.ResourcePool(ctx, made+"_C0/Resources")
	if err != nil {
		return err
	}
	network, err := finder.Network(ctx, made+"_DVPG0")
	if err != nil {
		return err
	}
	backing, err := network.EthernetCardBackingInfo(ctx)
	if err != nil {
		return err
	}
	inv.sites[wanted] = &site{folder: folders.VmFolder, pool: pool, network: backing}

	if name := path.Base(wanted); name != made {
		task, err := dc.Rename(ctx, name)
		if err != nil {
			return err
		}
		if _, err := inv.finish(task); err != nil {
			return err
		}
	}
	parent, err := inv.folder(ctx, path.Dir(wanted))
	if err != nil || parent == nil {
		return err
	}
	task, err := parent.MoveInto(ctx, []types.ManagedObjectReference{dc.Reference()})
	if err != nil {
		return err
	}
	_, err = inv.finish(task)
	return err
}

// folder finds or makes a folder for datacenters; nil stands for the root folder.
func (inv *inventory) folder(ctx context.Context, dir string) (*object.Folder, error) {
	if dir == "." || dir == "/" {
		return nil, nil
	}
	parent := object.NewRootFolder(inv.client)
	for _, name := range strings.Split(strings.Trim(dir, "/"), "/") {
		child, err := object.NewSearchIndex(inv.client).FindChild(ctx, parent, name)
		if err != nil {
			return nil, err
		}
		if existing, isFolder := child.(*object.Folder); isFolder {
			parent = existing
			continue
		}
		if parent, err = parent.CreateFolder(ctx, name); err != nil {
			return nil, err
		}
	}
	return parent, nil
}

// add makes a machine; what is left out follows from its name, the seed and the first datacenter.
func (inv *inventory) add(ctx context.Context, m machine) (machine, error) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if m.Name == "" {
		return m, errors.New("name is missing")
	}
	if m.Datacenter == "" {
		if len(inv.sites) != 1 {
			return m, errors.New("datacenter is missing")
		}
		for only := range inv.sites {
			m.Datacenter = only
		}
	}
	if _, found := inv.refs[m.Name]; found {
		return m, errMachineExists
	}
	if err := inv.create(ctx, m); err != nil {
		return m, err
	}
	return inv.rows[len(inv.rows)-1], inv.save()
}

func (inv *inventory) create(ctx context.Context, m machine) error {
	place, found := inv.sites[m.Datacenter]
	if !found {
		return fmt.Errorf("no datacenter %q", m.Datacenter)
	}
	if m.HostName == "" {
		m.HostName = m.Name
	}
	if m.UUID == "" {
		m.UUID = inv.derive("bios", m.Name)
	}
	parsed, err := uuid.Parse(m.UUID)
	if err != nil {
		return err
	}
	m.UUID = parsed.String()
	if m.Power == "" {
		m.Power = powerOn
	}
	if m.Power != powerOn && m.Power != powerOff {
		return fmt.Errorf("power is %q, not on or off", m.Power)
	}

	spec, err := inv.spec(m, place)
	if err != nil {
		return err
	}
	task, err := place.folder.CreateVM(ctx, spec, place.pool, nil)
	if err != nil {
		return err
	}
	made, err := inv.finish(task)
	if err != nil {
		return err
	}
	vm := object.NewVirtualMachine(inv.client, made.(types.ManagedObjectReference))
	if m.Power == powerOn {
		inv.switchOn(vm)
	}
	inv.rows = append(inv.rows, m)
	inv.refs[m.Name] = vm
	return nil
}

// switchOn sets what a power-on task sets. The simulator's own task copies every device by way of XML.
func (inv *inventory) switchOn(vm *object.VirtualMachine) {
	ctx := &simulator.Context{Map: inv.registry}
	inv.registry.AtomicUpdate(ctx, inv.registry.Get(vm.Reference()), []types.PropertyChange{
		{Name: "runtime.powerState", Val: types.VirtualMachinePowerStatePoweredOn},
		{Name: "summary.runtime.powerState", Val: types.VirtualMachinePowerStatePoweredOn},
		{Name: "summary.runtime.bootTime", Val: time.Now()},
	})
}

func (inv *inventory) spec(m machine, place *site) (types.VirtualMachineConfigSpec, error) {
	var devices object.VirtualDeviceList
	scsi, err := devices.CreateSCSIController("pvscsi")
	if err != nil {
		return types.VirtualMachineConfigSpec{}, err
	}
	nic, err := devices.CreateEthernetCard("vmxnet3", place.network)
	if err != nil {
		return types.VirtualMachineConfigSpec{}, err
	}
	nic.GetVirtualDevice().Connectable = &types.VirtualDeviceConnectInfo{StartConnected: true, Connected: m.Power == powerOn}
	changes, err := append(devices, scsi, nic).ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
	if err != nil {
		return types.VirtualMachineConfigSpec{}, err
	}
	spec := types.VirtualMachineConfigSpec{
		Name:         m.Name,
		Uuid:         m.UUID,
		InstanceUuid: inv.derive("instance", m.Name),
		GuestId:      string(types.VirtualMachineGuestOsIdentifierUbuntu64Guest),
		Files:        &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"},
		DeviceChange: changes,
		ExtraConfig: []types.BaseOptionValue{
			// The CSI driver finds no disks in a guest that hides their serial numbers.
			&types.OptionValue{Key: "disk.EnableUUID", Value: "TRUE"},
			&types.OptionValue{Key: "SET.guest.hostName", Value: m.HostName},
		},
	}
	if m.IP != "" {
		spec.ExtraConfig = append(spec.ExtraConfig, &types.OptionValue{Key: "SET.guest.ipAddress", Value: m.IP})
	}
	if m.Power == powerOn {
		spec.ExtraConfig = append(spec.ExtraConfig, &types.OptionValue{
			Key: "SET.guest.toolsRunningStatus", Value: string(types.VirtualMachineToolsRunningStatusGuestToolsRunning),
		})
	}
	return spec, nil
}

// finish waits for a task. The simulator's own ways poll so slowly that 5,000 machines take minutes.
func (inv *inventory) finish(reference *object.Task) (types.AnyType, error) {
	task, found := inv.registry.Get(reference.Reference()).(*simulator.Task)
	if !found {
		return nil, fmt.Errorf("no task %s", reference.Reference())
	}
	for ; ; time.Sleep(100 * time.Microsecond) {
		var info types.TaskInfo
		inv.registry.WithLock(&simulator.Context{Map: inv.registry}, task, func() { info = task.Info })
		switch info.State {
		case types.TaskInfoStateSuccess:
			return info.Result, nil
		case types.TaskInfoStateError:
			return nil, errors.New(info.Error.LocalizedMessage)
		}
	}
}

func (inv *inventory) derive(kind, name string) string {
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(inv.seed+"/"+kind+"/"+name)).String()
}

func (inv *inventory) drop(ctx context.Context, name string) error {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	vm, found := inv.refs[name]
	if !found {
		return errNoMachine
	}
	for i, row := range inv.rows {
		if row.Name != name {
			continue
		}
		if row.Power == powerOn {
			task, err := vm.PowerOff(ctx)
			if err != nil {
				return err
			}
			// It may have been switched off by a client.
			_, _ = inv.finish(task)
		}
		task, err := vm.Destroy(ctx)
		if err != nil {
			return err
		}
		if _, err := inv.finish(task); err != nil {
			return err
		}
		inv.rows = append(inv.rows[:i:i], inv.rows[i+1:]...)
		break
	}
	delete(inv.refs, name)
	return inv.save()
}

func (inv *inventory) list() []machine {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	return append([]machine{}, inv.rows...)
}

// save replaces the file in one step, so that a reader never sees half of it.
func (inv *inventory) save() error {
	if inv.file == "" {
		return nil
	}
	text, err := json.MarshalIndent(append([]machine{}, inv.rows...), "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(inv.file+".new", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(inv.file+".new", inv.file)
}
