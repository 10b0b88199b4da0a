// Command csic calls a CSI driver's controller over its socket, as the external sidecars do, which the test
// bed does not have.
//
//	csic --socket PATH info
//	csic --socket PATH create --name NAME [--gib N]
//	csic --socket PATH delete --id ID
//	csic --socket PATH round-trip --name NAME [--gib N]
//
// One line per step, or JSON with --json. Exit codes: 0 done, 1 the driver refused, 2 wrong usage,
// 3 the driver cannot be reached.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const (
	exitRefused     = 1
	exitUsage       = 2
	exitUnreachable = 3
)

type options struct {
	socket, name, id string
	gib              int64
	json             bool
	timeout          time.Duration
	command          string
}

var errUsage = errors.New("usage: csic --socket PATH info | create --name NAME [--gib N] | delete --id ID | round-trip --name NAME [--gib N]")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	o, err := parse(args, errOut)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(errOut, "csic:", err)
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	// gRPC takes a relative path after unix:// for a host name.
	socket, err := filepath.Abs(o.socket)
	if err != nil {
		fmt.Fprintln(errOut, "csic:", err)
		return exitUsage
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		fmt.Fprintln(errOut, "csic:", err)
		return exitUnreachable
	}
	defer conn.Close()

	if err := (&session{options: o, conn: conn, out: out}).run(ctx); err != nil {
		fmt.Fprintln(errOut, "csic:", err)
		switch status.Code(err) {
		case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
			return exitUnreachable
		}
		return exitRefused
	}
	return 0
}

// parse takes flags on both sides of the command.
func parse(args []string, errOut io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("csic", flag.ContinueOnError)
	flags.SetOutput(errOut)
	flags.StringVar(&o.socket, "socket", "", "the driver's socket")
	flags.StringVar(&o.name, "name", "", "name of the volume")
	flags.StringVar(&o.id, "id", "", "id of the volume")
	flags.Int64Var(&o.gib, "gib", 1, "size of the volume")
	flags.BoolVar(&o.json, "json", false, "print JSON, one object per line")
	flags.DurationVar(&o.timeout, "timeout", time.Minute, "give up after this long")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() == 0 {
		return o, errUsage
	}
	o.command = flags.Arg(0)
	if err := flags.Parse(flags.Args()[1:]); err != nil {
		return o, err
	}
	known := map[string]bool{
		"info":       true,
		"create":     o.name != "" && o.gib > 0,
		"delete":     o.id != "",
		"round-trip": o.name != "" && o.gib > 0,
	}
	if flags.NArg() > 0 || o.socket == "" || !known[o.command] {
		return o, errUsage
	}
	return o, nil
}

type session struct {
	options
	conn grpc.ClientConnInterface
	out  io.Writer
}

func (s *session) run(ctx context.Context) error {
	switch s.command {
	case "info":
		return s.info(ctx)
	case "create":
		_, err := s.create(ctx)
		return err
	case "delete":
		return s.delete(ctx, s.id)
	}
	if err := s.info(ctx); err != nil {
		return err
	}
	id, err := s.create(ctx)
	if err != nil {
		return err
	}
	return s.delete(ctx, id)
}

func (s *session) info(ctx context.Context) error {
	identity := csi.NewIdentityClient(s.conn)
	plugin, err := identity.GetPluginInfo(ctx, &csi.GetPluginInfoRequest{})
	if err != nil {
		return fmt.Errorf("plug-in info: %w", err)
	}
	probe, err := identity.Probe(ctx, &csi.ProbeRequest{})
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	// Left out means ready.
	ready := probe.GetReady() == nil || probe.GetReady().GetValue()
	return s.say(fmt.Sprintf("driver %s, version %q, ready: %t", plugin.GetName(), plugin.GetVendorVersion(), ready),
		map[string]any{"step": "info", "driver": plugin.GetName(), "version": plugin.GetVendorVersion(), "ready": ready})
}

func (s *session) create(ctx context.Context) (string, error) {
	began := time.Now()
	answer, err := csi.NewControllerClient(s.conn).CreateVolume(ctx, &csi.CreateVolumeRequest{
		Name:          s.name,
		CapacityRange: &csi.CapacityRange{RequiredBytes: s.gib << 30},
		VolumeCapabilities: []*csi.VolumeCapability{{
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{FsType: "ext4"}},
		}},
		Parameters: map[string]string{},
	})
	if err != nil {
		return "", fmt.Errorf("create volume %s: %w", s.name, err)
	}
	volume := answer.GetVolume()
	took := time.Since(began)
	return volume.GetVolumeId(), s.say(
		fmt.Sprintf("created volume %s, id %s, %d bytes, in %d ms", s.name, volume.GetVolumeId(), volume.GetCapacityBytes(), took.Milliseconds()),
		map[string]any{"step": "create", "name": s.name, "id": volume.GetVolumeId(), "bytes": volume.GetCapacityBytes(), "ms": took.Milliseconds()})
}

func (s *session) delete(ctx context.Context, id string) error {
	began := time.Now()
	if _, err := csi.NewControllerClient(s.conn).DeleteVolume(ctx, &csi.DeleteVolumeRequest{VolumeId: id}); err != nil {
		return fmt.Errorf("delete volume %s: %w", id, err)
	}
	took := time.Since(began)
	return s.say(fmt.Sprintf("deleted volume %s in %d ms", id, took.Milliseconds()),
		map[string]any{"step": "delete", "id": id, "ms": took.Milliseconds()})
}

func (s *session) say(line string, facts map[string]any) error {
	if !s.json {
		_, err := fmt.Fprintln(s.out, line)
		return err
	}
	return json.NewEncoder(s.out).Encode(facts)
}
