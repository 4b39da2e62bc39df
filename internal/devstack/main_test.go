package devstack_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// TestMain is the tests or, started as chserver is, a server that does what
// chserver promises and nothing else.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "--dir" {
		if err := fakeServer(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// fakeServer listens until its owner lets go. Where its folder holds a file
// named broken it ends at once.
func fakeServer(args []string) error {
	flags := flag.NewFlagSet("chserver", flag.ContinueOnError)
	dir, lib := flags.String("dir", "", ""), flags.String("lib", "", "")
	native, http := flags.String("listen", "", ""), flags.String("http-listen", "", "")
	owned := flags.Bool("owner-pipe", false, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(*dir, "broken")); err == nil || *lib == "" || !*owned {
		return fmt.Errorf("broken: lib %q, owned %v", *lib, *owned)
	}
	var addresses [2]string
	for i, address := range []string{*native, *http} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
		addresses[i] = l.Addr().String()
	}
	ready := map[string]any{"native": addresses[0], "http": addresses[1], "version": "26.7", "pid": os.Getpid()}
	if err := json.NewEncoder(os.Stdout).Encode(ready); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}
