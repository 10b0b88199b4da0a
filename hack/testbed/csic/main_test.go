package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// driver keeps volumes by id and refuses to delete one that it does not have.
type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	volumes map[string]int64
	refuse  codes.Code
}

func (d *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: "csi.example", VendorVersion: "v9"}, nil
}

func (d *driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{}, nil
}

func (d *driver) CreateVolume(_ context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if d.refuse != codes.OK {
		return nil, status.Error(d.refuse, "no")
	}
	d.volumes["id-of-"+req.Name] = req.CapacityRange.RequiredBytes
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{VolumeId: "id-of-" + req.Name, CapacityBytes: req.CapacityRange.RequiredBytes}}, nil
}

func (d *driver) DeleteVolume(_ context.Context, req *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if _, found := d.volumes[req.VolumeId]; !found {
		return nil, status.Error(codes.NotFound, "unknown")
	}
	delete(d.volumes, req.VolumeId)
	return &csi.DeleteVolumeResponse{}, nil
}

func serve(t *testing.T) (*driver, string) {
	t.Helper()
	// The limit of a socket's path is short, and the test's own directory may be long.
	dir, err := os.MkdirTemp("", "csic")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "csi.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	d := &driver{volumes: map[string]int64{}}
	server := grpc.NewServer()
	csi.RegisterIdentityServer(server, d)
	csi.RegisterControllerServer(server, d)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return d, socket
}

func csic(t *testing.T, wanted int, args ...string) (string, string) {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := run(context.Background(), args, &out, &errOut); code != wanted {
		t.Fatalf("csic %q ended with %d, not %d: %s%s", args, code, wanted, &out, &errOut)
	}
	return out.String(), errOut.String()
}

func TestAVolumeIsCreatedAndDeleted(t *testing.T) {
	d, socket := serve(t)
	out, _ := csic(t, 0, "--socket", socket, "create", "--name", "pvc-1", "--gib", "2", "--json")
	var made struct {
		ID    string
		Bytes int64
	}
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.ID != "id-of-pvc-1" || made.Bytes != 2<<30 || d.volumes[made.ID] != made.Bytes {
		t.Fatalf("answer %q, volumes %v", out, d.volumes)
	}
	csic(t, 0, "delete", "--id", made.ID, "--socket", socket)
	if len(d.volumes) != 0 {
		t.Fatalf("left: %v", d.volumes)
	}
	out, _ = csic(t, 0, "--socket", socket, "round-trip", "--name", "pvc-2")
	for _, step := range []string{"driver csi.example, version \"v9\", ready: true\n", "created volume pvc-2, id id-of-pvc-2, 1073741824 bytes", "deleted volume id-of-pvc-2"} {
		if !strings.Contains(out, step) {
			t.Errorf("no %q in %q", step, out)
		}
	}
}

func TestTheSocketMayBeARelativePath(t *testing.T) {
	_, socket := serve(t)
	t.Chdir(filepath.Dir(socket))
	csic(t, 0, "--socket", filepath.Base(socket), "info")
}

func TestExitCodesTellWhatWentWrong(t *testing.T) {
	d, socket := serve(t)
	csic(t, exitRefused, "--socket", socket, "delete", "--id", "nothing")
	d.refuse = codes.Internal
	_, said := csic(t, exitRefused, "--socket", socket, "round-trip", "--name", "x")
	if !strings.Contains(said, "create volume x: ") {
		t.Errorf("said %q", said)
	}
	csic(t, exitUnreachable, "--socket", socket+".none", "info")
	for _, args := range [][]string{{}, {"info"}, {"--socket", socket}, {"--socket", socket, "create"}, {"--socket", socket, "delete"}, {"--socket", socket, "mount"}, {"--socket", socket, "info", "more"}, {"--nonsense"}} {
		csic(t, exitUsage, args...)
	}
}
