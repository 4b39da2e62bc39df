package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestChildHasTheAddressAndItsExitCodeIsPassedOn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "address")
	code, err := child(t.Context(), []string{"sh", "-c", `printf %s "$TINTYPE_TEST_KAFKA" > ` + file + `; exit 7`}, "127.0.0.1:1")
	if code != 7 || err != nil {
		t.Fatalf("%d, %v", code, err)
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != "127.0.0.1:1" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestChildThatIsMissingOrKilledFails(t *testing.T) {
	if code, err := child(t.Context(), []string{"no-such-command"}, ""); code == 0 || err == nil {
		t.Errorf("missing: %d, %v", code, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if code, err := child(ctx, []string{"sleep", "60"}, ""); code == 0 || err == nil {
		t.Errorf("killed: %d, %v", code, err)
	}
}

func TestNoCommand(t *testing.T) {
	var said bytes.Buffer
	if code := run(t.Context(), []string{"--"}, &said); code != exitUsage || !strings.Contains(said.String(), "no command") {
		t.Fatalf("%d, %s", code, said.String())
	}
}
