package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Version is the version of Apache Kafka.
const Version = "4.3.1"

// ErrMissing says that Java or Maven is not installed.
var ErrMissing = errors.New("not installed")

// pluginGoal copies jars; its version is pinned, for Maven's own default
// changes with Maven.
const pluginGoal = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"

// pom names the broker and the log binding that fits its SLF4J 1.7 and its
// log4j 2.25.4.
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tintype</groupId>
  <artifactId>kafkatest</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>` + Version + `</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId>
      <artifactId>log4j-slf4j-impl</artifactId>
      <version>2.25.4</version>
    </dependency>
  </dependencies>
</project>
`

// Jars returns the class path of the broker. The first call on a machine has
// Maven fetch the jars; processes that call it at the same time wait for the
// one that does. Without Maven, and with nothing in the cache, the error is
// ErrMissing.
func Jars(ctx context.Context) (classpath string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("kafkatest: find the cache folder: %w", err)
	}
	return jars(ctx, filepath.Join(cache, "tintype", "kafka", Version))
}

// jars is Jars with a cache folder of one's own.
func jars(ctx context.Context, dir string) (string, error) {
	lib := filepath.Join(dir, "lib")
	classpath := filepath.Join(lib, "*")
	if present(lib) {
		return classpath, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("kafkatest: make the cache folder: %w", err)
	}
	lock, err := awaitLock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return "", err
	}
	if !present(lib) {
		err = resolve(ctx, dir, lib)
	}
	if err := errors.Join(err, lock.Close()); err != nil {
		return "", err
	}
	return classpath, nil
}

// present tells whether the jars are there: the folder is renamed into place
// when it is complete.
func present(lib string) bool {
	_, err := os.Stat(lib)
	return err == nil
}

// resolve has Maven copy the jars into lib. A registry may fail once.
func resolve(ctx context.Context, dir, lib string) (err error) {
	mvn, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("kafkatest: find Maven (mvn), which fetches the broker: %w", errors.Join(ErrMissing, err))
	}
	temporary, err := os.MkdirTemp(dir, "fetch-")
	if err != nil {
		return fmt.Errorf("kafkatest: make a folder for the jars: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	if err := os.WriteFile(filepath.Join(temporary, "pom.xml"), []byte(pom), 0o644); err != nil {
		return fmt.Errorf("kafkatest: write the pom: %w", err)
	}
	fetch := func() error {
		command := exec.CommandContext(ctx, mvn, "-q", "-B", "-ntp", pluginGoal, "-DincludeScope=runtime", "-DoutputDirectory=lib")
		command.Dir = temporary
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("kafkatest: fetch Apache Kafka %s with Maven: %w: %s", Version, err, strings.TrimSpace(string(out)))
		}
		return nil
	}
	if err := fetch(); err != nil {
		if again := fetch(); again != nil {
			return again
		}
	}
	if err := os.Rename(filepath.Join(temporary, "lib"), lib); err != nil {
		return fmt.Errorf("kafkatest: keep the jars: %w", err)
	}
	return nil
}

// awaitLock takes a lock that ends with its file, however its process ends.
func awaitLock(ctx context.Context, path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("kafkatest: open the lock: %w", err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("kafkatest: lock %s: %w", path, err), file.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("kafkatest: wait for %s: %w", path, ctx.Err()), file.Close())
		case <-tick.C:
		}
	}
}

// exists tells whether there is a file.
func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
