package kstreams

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	kafkastreams "github.com/tintype/tintype/bench/peers/kafka-streams"
)

// ErrMissing says that Java or Maven is not installed.
var ErrMissing = errors.New("not installed")

// Peer is the compiled Java programs.
type Peer struct{ classpath string }

// Build compiles the programs, or takes them from the cache, where they lie by
// the hash of their sources. Where nothing is cached and Java or Maven is not
// installed, the error is ErrMissing.
func Build(ctx context.Context) (*Peer, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("kstreams: find the cache folder: %w", err)
	}
	if _, err := exec.LookPath("java"); err != nil {
		return nil, fmt.Errorf("kstreams: find Java, which runs Kafka Streams: %w", errors.Join(ErrMissing, err))
	}
	return build(ctx, filepath.Join(cache, "tintype", "kafka-streams"))
}

// build is Build with a cache folder of one's own.
func build(ctx context.Context, cache string) (*Peer, error) {
	hash, err := hashOf(kafkastreams.Source)
	if err != nil {
		return nil, fmt.Errorf("kstreams: read the sources: %w", err)
	}
	target := filepath.Join(cache, hash)
	if p := open(target); p != nil {
		return p, nil
	}
	for _, tool := range []string{"mvn", "javac"} {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("kstreams: find %s, which builds the programs: %w", tool, errors.Join(ErrMissing, err))
		}
	}
	if err := compile(ctx, cache, target); err != nil {
		return nil, err
	}
	p := open(target)
	if p == nil {
		return nil, fmt.Errorf("kstreams: build the programs: jars are missing that Maven has just fetched: see %s", target)
	}
	return p, nil
}

// hashOf names the contents of a file system.
func hashOf(source fs.FS) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(source, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(source, name)
		_, _ = fmt.Fprintf(h, "%s %d\n%s", name, len(data), data) // A hash takes everything.
		return err
	})
	return hex.EncodeToString(h.Sum(nil)[:8]), err
}

// open finds what was built: classes, and a file that lists the jars, which lie
// in Maven's own folder. It is nil where one is missing.
func open(target string) *Peer {
	list, err := os.ReadFile(filepath.Join(target, "classpath"))
	if err != nil {
		return nil
	}
	jars := filepath.SplitList(strings.TrimSpace(string(list)))
	missing := func(jar string) bool { _, err := os.Stat(jar); return err != nil }
	if len(jars) == 0 || slices.ContainsFunc(jars, missing) {
		return nil
	}
	path := append([]string{filepath.Join(target, "classes")}, jars...)
	return &Peer{classpath: strings.Join(path, string(os.PathListSeparator))}
}

// compile has Maven build into a folder of its own, which takes the place of
// target when it is complete: whoever builds at the same time does the same.
func compile(ctx context.Context, cache, target string) (err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return fmt.Errorf("kstreams: make the cache folder: %w", err)
	}
	project, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return fmt.Errorf("kstreams: make a folder to build in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(project)) }()
	if err := os.CopyFS(project, kafkastreams.Source); err != nil {
		return fmt.Errorf("kstreams: write the sources: %w", err)
	}
	// Without the network where all was fetched before; a registry may fail once.
	var failed error
	for _, flags := range [][]string{{"-o"}, nil, nil} {
		if failed = maven(ctx, project, flags); failed == nil {
			break
		}
	}
	if failed != nil {
		return failed
	}
	built := filepath.Join(project, "target")
	if err := os.Rename(built, target); err != nil && open(target) == nil {
		// What lies there is not whole: jars that it names were deleted.
		if err := errors.Join(os.RemoveAll(target), os.Rename(built, target)); err != nil {
			return fmt.Errorf("kstreams: keep what was built: %w", err)
		}
	}
	return nil
}

func maven(ctx context.Context, project string, flags []string) error {
	command := exec.CommandContext(ctx, "mvn", append([]string{"-q", "-B", "-ntp", "process-classes"}, flags...)...)
	command.Dir = project
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("kstreams: build with Maven: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// command makes the command of one of the programs.
func (p *Peer) command(ctx context.Context, program string, stderr io.Writer, args ...string) *exec.Cmd {
	flags := []string{"-Xmx1g", "-XX:+UseSerialGC", "-Djava.awt.headless=true", "-cp", p.classpath, "tintype.peer." + program}
	command := exec.CommandContext(ctx, "java", append(flags, args...)...)
	command.Stderr = stderr
	return command
}
