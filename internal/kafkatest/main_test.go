package kafkatest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// asOwner makes the test binary a process that owns another one.
const asOwner = "TINTYPE_KAFKATEST_OWNER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asOwner); dir != "" {
		own(dir)
	}
	goleak.VerifyTestMain(m)
}

// own starts a process that holds the pipe open, says so, and waits to be
// killed.
func own(dir string) {
	pipe := os.NewFile(3, "pipe")
	command := exec.Command("sleep", "600")
	command.ExtraFiles = []*os.File{pipe}
	if _, err := startProcess(command, filepath.Join(dir, "out")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if _, err := fmt.Fprintln(pipe, "started"); err != nil {
		os.Exit(1)
	}
	select {}
}
