package kafkatest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// loopback is the only address that brokers listen on.
const loopback = "127.0.0.1"

const (
	// startTimeout bounds a start, where the context has no deadline.
	startTimeout = time.Minute
	// stopTimeout is how long a broker may take to end by itself.
	stopTimeout = 15 * time.Second
)

// Options say how to start a broker.
type Options struct {
	// Dir is the broker's folder: data, settings and logs. An existing one is
	// opened again, with what it holds.
	Dir string
	// Port that clients connect to; 0 takes a free one.
	Port int
	// OwnController has the controller run in a process of its own, as deployments
	// have it, which lives on when the broker is killed. A killed broker may forget
	// the end of a transaction: it goes on with transactions while its partitions
	// lose the leader of before, takes a partition without a leader for deleted, and
	// writes no marker there. So it must stay away for longer than Session, which
	// needs a controller that counts meanwhile.
	OwnController bool
	// Secure, when set, gives the broker one more listener, with TLS and users.
	Secure *Secure
	// Properties are broker settings on top of this package's.
	Properties map[string]string
	// Java are flags of the virtual machine, on top of this package's: a heap
	// of 512 MiB, and the quick compiler only, for a test's broker lives for
	// seconds. A benchmark of the broker asks for both compilers:
	// -XX:TieredStopAtLevel=4.
	Java []string
}

// Broker is a real Kafka broker in a process of its own.
type Broker struct {
	options    Options
	classpath  string
	controller int
	secure     int       // port of the secure listener
	cluster    uuid.UUID // of new folders

	mu      sync.Mutex
	process *process
	// quorum is the controller where it is a process of its own.
	quorum *process
}

// Start starts a broker and returns when it answers.
func Start(ctx context.Context, o Options) (*Broker, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return nil, fmt.Errorf("kafkatest: find Java, which runs the broker: %w", errors.Join(ErrMissing, err))
	}
	classpath, err := Jars(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("kafkatest: find the folder %s: %w", o.Dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("kafkatest: make the broker's folder: %w", err)
	}
	o.Dir = dir
	b := &Broker{options: o, classpath: classpath, cluster: uuid.New()}
	b.cluster[0] &= 0x7f // The id must not begin with a dash.
	// A port that was free may be taken before the broker has it.
	const attempts = 3
	for attempt := 1; ; attempt++ {
		if err := b.choosePorts(ctx, o.Port); err != nil {
			return nil, err
		}
		err := b.start(ctx)
		if err == nil {
			return b, nil
		}
		if attempt == attempts || !errors.Is(err, errPortTaken) || o.Port != 0 {
			return nil, err
		}
	}
}

// Addr is the address that clients bootstrap from, the same after a restart.
func (b *Broker) Addr() string { return net.JoinHostPort(loopback, strconv.Itoa(b.options.Port)) }

// PID is the process id of the broker, 0 while it does not run.
func (b *Broker) PID() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process == nil {
		return 0
	}
	return b.process.pid()
}

// Kill ends the broker with SIGKILL and returns when it has ended. Its folder
// is as a crash leaves it.
func (b *Broker) Kill() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process == nil {
		return nil
	}
	err := b.process.kill()
	b.process = nil
	return err
}

// Stop asks the broker to end with SIGTERM, and kills it when the context or
// 15 s end first. A broker that does not run is stopped.
func (b *Broker) Stop(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := b.stop(ctx)
	if b.quorum != nil {
		ctx, cancel := context.WithTimeout(ctx, stopTimeout)
		defer cancel()
		err = errors.Join(err, b.quorum.stop(ctx))
		b.quorum = nil
	}
	return err
}

// Restart starts the broker again, on its port and with its folder, after
// stopping it where it runs.
func (b *Broker) Restart(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.stop(ctx); err != nil {
		return err
	}
	return b.start(ctx)
}

func (b *Broker) stop(ctx context.Context) error {
	if b.process == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	err := b.process.stop(ctx)
	b.process = nil
	return err
}

// start formats the folder where it is new, and runs the broker.
func (b *Broker) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	extra := b.options.Properties
	if b.options.Secure != nil {
		extra = maps.Clone(extra)
		if extra == nil {
			extra = map[string]string{}
		}
		maps.Copy(extra, b.options.Secure.settings(b.options.Port, b.secure, b.controller))
	}
	if b.options.OwnController {
		if b.quorum == nil {
			dir := filepath.Join(b.options.Dir, "controller")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("kafkatest: make the controller's folder: %w", err)
			}
			quorum, err := b.launch(ctx, dir, controllerSettings(dir, b.controller))
			if err != nil {
				return err
			}
			b.quorum = quorum
		}
		extra = maps.Clone(extra)
		if extra == nil {
			extra = map[string]string{}
		}
		maps.Copy(extra, brokerAlone(b.options.Port, b.controller))
	}
	p, err := b.launch(ctx, b.options.Dir, settings(b.options.Dir, b.options.Port, b.controller, extra))
	if err != nil {
		return err
	}
	if err := p.ready(ctx, b.Addr()); err != nil {
		return errors.Join(b.explain(err), p.kill())
	}
	b.process = p
	return nil
}

// launch formats a folder where it is new, and starts a node in it.
func (b *Broker) launch(ctx context.Context, dir string, s map[string]string) (*process, error) {
	config, logConfig := filepath.Join(dir, "server.properties"), filepath.Join(dir, "log4j2.properties")
	err := os.WriteFile(config, properties(s), 0o644)
	if err == nil {
		err = os.WriteFile(logConfig, properties(logSettings(filepath.Join(dir, "kafka.log"))), 0o644)
	}
	if err != nil {
		return nil, fmt.Errorf("kafkatest: write the settings: %w", err)
	}
	java := append([]string{
		"-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true",
		"-Dlog4j2.configurationFile=" + logConfig, "-cp", b.classpath,
	}, b.options.Java...)
	if err := b.format(ctx, dir, config, java); err != nil {
		return nil, err
	}
	return startProcess(exec.Command("java", slices.Concat(java, []string{"kafka.Kafka", config})...), filepath.Join(dir, "kafka.out"))
}

// format gives a new folder the cluster id.
func (b *Broker) format(ctx context.Context, dir, config string, java []string) error {
	done, err := exists(filepath.Join(dir, "data", "meta.properties"))
	if err != nil {
		return fmt.Errorf("kafkatest: look into the folder of a node: %w", err)
	}
	if done {
		return nil
	}
	id := b.cluster
	arguments := []string{"kafka.tools.StorageTool", "format", "--config", config, "--cluster-id", base64.RawURLEncoding.EncodeToString(id[:])}
	command := exec.CommandContext(ctx, "java", slices.Concat(java, arguments, b.options.Secure.format())...)
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("kafkatest: format the broker's folder: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// choosePorts takes the wanted port, or a free one, and a free one for the
// controller.
func (b *Broker) choosePorts(ctx context.Context, want int) error {
	// Both are held at once, so that they differ.
	var free [3]int
	for i := range free {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(loopback, "0"))
		if err != nil {
			return fmt.Errorf("kafkatest: find a free port: %w", err)
		}
		defer func() { _ = l.Close() }() // Nothing was written.
		free[i] = l.Addr().(*net.TCPAddr).Port
	}
	b.options.Port, b.controller, b.secure = free[0], free[1], free[2]
	if want != 0 {
		b.options.Port = want
	}
	return nil
}

func (b *Broker) logFile() string { return filepath.Join(b.options.Dir, "kafka.log") }
