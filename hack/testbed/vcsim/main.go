// Command vcsim serves one simulated vCenter for the test bed.
//
// The inventory and the SOAP and REST services are govmomi's simulator. In front of it stands our own
// listener: it terminates TLS with a certificate that can be exchanged, knows users and passwords, counts
// every call and connection, and breaks things on request. A second port, plain HTTP, reads and steers
// all of that. README.md lists both.
//
// Start reading at vcenter.go (what is simulated), then front.go (what happens to a call).
//
// Invariant: no answer comes from the simulator before the front has counted the call, and no password
// is accepted by anything but the users table.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

type options struct {
	listen, advertise, admin string
	cert, key, sans          string
	username, passwordFile   string
	defaultDomain, data      string
	version                  version
	inventory                inventoryOptions
}

func main() {
	log.SetFlags(log.LstdFlags | log.LUTC)
	opts, err := parse(flag.CommandLine, os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "vcsim:", err)
		os.Exit(2)
	}
	if err := run(opts); err != nil {
		fmt.Fprintln(os.Stderr, "vcsim:", err)
		os.Exit(1)
	}
}

func parse(flags *flag.FlagSet, args []string) (options, error) {
	var o options
	var datacenters string
	flags.StringVar(&o.listen, "listen", ":443", "address of the vCenter, TLS")
	flags.StringVar(&o.advertise, "advertise", "", "host[:port] that the vCenter names itself by; default: the listen address")
	flags.StringVar(&o.admin, "admin", "127.0.0.1:8990", "address of the admin API, plain HTTP")
	flags.StringVar(&o.cert, "cert", "", "certificate chain, PEM; default: self-made")
	flags.StringVar(&o.key, "key", "", "private key, PEM")
	flags.StringVar(&o.sans, "san", "", "more names and addresses for the self-made certificate, comma separated")
	flags.StringVar(&o.username, "username", "administrator@vsphere.local", "first user")
	flags.StringVar(&o.passwordFile, "password-file", "", "file with the first user's password; one newline at its end does not count")
	flags.StringVar(&o.defaultDomain, "default-domain", "vsphere.local", "domain of a user name without one")
	flags.StringVar(&o.data, "data", "", "folder for the simulated datastores; default: the system's temporary folder")
	flags.StringVar(&o.version.Version, "version", "8.0.3", "vSphere version")
	flags.StringVar(&o.version.APIVersion, "api-version", "", "API version; default: the version with .0 appended")
	flags.StringVar(&o.version.Build, "build", "24322831", "build number")
	flags.StringVar(&datacenters, "datacenters", "DC0", "datacenters, comma separated; folder/name puts one into a folder")
	flags.IntVar(&o.inventory.vms, "vms", 10, "number of virtual machines, spread over the datacenters")
	flags.StringVar(&o.inventory.prefix, "vm-prefix", "node-", "virtual machines are called prefix0, prefix1, ...")
	flags.StringVar(&o.inventory.seed, "seed", "vc0", "UUIDs follow from seed and name: give each vCenter its own")
	flags.StringVar(&o.inventory.firstIP, "first-ip", "10.100.0.1", "address of the first virtual machine; the others follow")
	flags.StringVar(&o.inventory.file, "inventory", "", "file kept equal to the inventory, JSON rows")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.inventory.datacenters = splitList(datacenters)
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.passwordFile == "":
		return o, errors.New("-password-file is missing")
	case (o.cert == "") != (o.key == ""):
		return o, errors.New("-cert and -key go together")
	case len(o.inventory.datacenters) == 0:
		return o, errors.New("-datacenters names none")
	case o.inventory.vms < 0:
		return o, errors.New("-vms is negative")
	}
	return o, nil
}

func run(o options) error {
	// Before anything is on disk: a signal while machines are made must not leave the files behind.
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)

	password, err := os.ReadFile(o.passwordFile)
	if err != nil {
		return err
	}
	if o.data != "" {
		// The simulator takes a folder of its own in here, and SIGTERM removes it; SIGKILL cannot.
		if err := os.Setenv("TMPDIR", o.data); err != nil {
			return err
		}
	}
	users := newUsers(o.defaultDomain)
	if err := users.replace(map[string]string{o.username: strings.TrimSuffix(string(password), "\n")}); err != nil {
		return err
	}

	raw, err := net.Listen("tcp", o.listen)
	if err != nil {
		return err
	}
	adminListener, err := net.Listen("tcp", o.admin)
	if err != nil {
		return err
	}
	if o.advertise == "" {
		o.advertise = raw.Addr().String()
	}

	identity, err := loadIdentity(o, raw.Addr())
	if err != nil {
		return err
	}
	vc, err := newVCenter(o.inventory, o.version, users, o.advertise)
	if err != nil {
		return err
	}
	defer vc.remove()

	f := newFront(vc, users, identity)
	gate := newGate(raw, identity, f.faults)
	failed := make(chan error, 2)
	go func() { failed <- f.serve(gate) }()
	go func() { failed <- http.Serve(adminListener, newAdmin(f, gate)) }()

	fmt.Printf("ready vcenter=%s admin=%s version=%s vms=%d sha256=%s\n",
		raw.Addr(), adminListener.Addr(), vc.about().Version, len(vc.inventory.list()), identity.describe().SHA256)

	select {
	case err := <-failed:
		return err
	case <-stop:
		return nil
	}
}

func splitList(list string) []string {
	var items []string
	for _, item := range strings.Split(list, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}
