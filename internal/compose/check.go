// Package compose checks a docker-compose.yml and the Dockerfiles it builds
// without a docker engine: what a person would only see once it runs, or leaks.
package compose

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

// prefix begins the names of the environment variables that tintype reads.
const prefix = "TINTYPE_"

// Load reads a compose file with every profile, and its ${VARIABLES} from the
// environment given; an empty one leaves the file's defaults.
func Load(ctx context.Context, path string, environment map[string]string) (*types.Project, error) {
	config, err := read(path, environment)
	if err != nil {
		return nil, err
	}
	project, err := loader.LoadWithContext(ctx, config, options)
	if err != nil {
		return nil, fmt.Errorf("compose: load %s: %w", path, err)
	}
	return project, nil
}

// Check returns what is wrong with a compose file, one sentence each. The
// variables of services that begin with TINTYPE_ must be among the known ones:
// those that the command line reads.
func Check(ctx context.Context, path string, known map[string]bool) ([]string, error) {
	project, err := Load(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	written, err := asWritten(ctx, path)
	if err != nil {
		return nil, err
	}
	c := &checker{project: project, written: written, known: known, published: map[string]string{}}
	for _, name := range slices.Sorted(maps.Keys(project.Services)) {
		if err := c.service(project.Services[name]); err != nil {
			return nil, err
		}
	}
	c.volumes()
	return c.wrong, nil
}

// read opens a compose file for the loader.
func read(path string, environment map[string]string) (types.ConfigDetails, error) {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return types.ConfigDetails{}, fmt.Errorf("compose: find %s: %w", path, err)
	}
	content, err := os.ReadFile(absolute)
	if err != nil {
		return types.ConfigDetails{}, fmt.Errorf("compose: read the file: %w", err)
	}
	return types.ConfigDetails{
		WorkingDir:  filepath.Dir(absolute),
		ConfigFiles: []types.ConfigFile{{Filename: absolute, Content: content}},
		Environment: environment,
	}, nil
}

func options(o *loader.Options) {
	o.SetProjectName("check", true)
	o.Profiles = []string{"*"}
}

// asWritten are the environments of the services with their ${VARIABLES} still
// in them. It stays a tree of maps: ports are no numbers then.
func asWritten(ctx context.Context, path string) (map[string]types.MappingWithEquals, error) {
	config, err := read(path, nil)
	if err != nil {
		return nil, err
	}
	model, err := loader.LoadModelWithContext(ctx, config, options, func(o *loader.Options) { o.SkipInterpolation = true })
	if err != nil {
		return nil, fmt.Errorf("compose: load %s as it is written: %w", path, err)
	}
	var tree struct {
		Services map[string]struct {
			Environment types.MappingWithEquals
		}
	}
	if err := loader.Transform(model, &tree); err != nil {
		return nil, fmt.Errorf("compose: take the variables out of %s: %w", path, err)
	}
	environments := map[string]types.MappingWithEquals{}
	for name, service := range tree.Services {
		environments[name] = service.Environment
	}
	return environments, nil
}

// checker gathers what is wrong with one project.
type checker struct {
	project *types.Project
	// written are the environments as they are written, by service.
	written map[string]types.MappingWithEquals
	known   map[string]bool
	// published are the services by the address of this machine they take.
	published map[string]string
	wrong     []string
}

func (c *checker) fault(service, format string, args ...any) {
	c.wrong = append(c.wrong, "service "+service+": "+fmt.Sprintf(format, args...))
}

func (c *checker) service(s types.ServiceConfig) error {
	if s.Build == nil && !Pinned(s.Image) {
		c.fault(s.Name, "the image %q is not pinned", s.Image)
	}
	if s.Build != nil {
		if err := c.build(s); err != nil {
			return err
		}
	}
	if s.Privileged {
		c.fault(s.Name, "it is privileged")
	}
	if user, _, _ := strings.Cut(s.User, ":"); user == "0" || user == "root" {
		c.fault(s.Name, "it runs as root")
	}
	c.life(s)
	c.ports(s)
	c.environment(s)
	return nil
}

// build checks what this repository builds itself.
func (c *checker) build(s types.ServiceConfig) error {
	name := s.Build.Dockerfile
	if !filepath.IsAbs(name) {
		name = filepath.Join(s.Build.Context, name)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("compose: read the Dockerfile of %s: %w", s.Name, err)
	}
	for _, w := range CheckDockerfile(string(content)) {
		c.fault(s.Name, "%s: %s", filepath.Base(name), w)
	}
	return nil
}

// oneShot tells whether a service does its work and ends.
func oneShot(s types.ServiceConfig) bool { return s.Restart == types.RestartPolicyNo }

// life checks that a service is one that ends, or one that says how it is, and
// that what needs it waits for just that.
func (c *checker) life(s types.ServiceConfig) {
	healthy := s.HealthCheck != nil && !s.HealthCheck.Disable && len(s.HealthCheck.Test) > 1
	switch {
	case oneShot(s) && healthy:
		c.fault(s.Name, "it ends (restart: no) and has a health check")
	case !oneShot(s) && !healthy:
		c.fault(s.Name, "it has no health check")
	case !oneShot(s) && s.Restart != types.RestartPolicyUnlessStopped && s.Restart != types.RestartPolicyAlways:
		c.fault(s.Name, "it is not restarted when it fails")
	}
	for _, name := range slices.Sorted(maps.Keys(s.DependsOn)) {
		want := types.ServiceConditionHealthy
		if oneShot(c.project.Services[name]) {
			want = types.ServiceConditionCompletedSuccessfully
		}
		if got := s.DependsOn[name].Condition; got != want {
			c.fault(s.Name, "it waits for %s with condition %s, want %s", name, got, want)
		}
	}
}

// ports checks that nothing listens but on this machine, and on one port once.
func (c *checker) ports(s types.ServiceConfig) {
	for _, p := range s.Ports {
		if p.HostIP != "127.0.0.1" {
			c.fault(s.Name, "port %s is published on %q, not on 127.0.0.1", p.Published, p.HostIP)
		}
		if other, taken := c.published[p.Published]; taken {
			c.fault(s.Name, "port %s is published by %s too", p.Published, other)
		}
		c.published[p.Published] = s.Name
	}
	if s.NetworkMode == "host" {
		c.fault(s.Name, "it uses the network of the host")
	}
}

// environment checks that variables are ones that are read, and that no
// password is written down other than as a default.
func (c *checker) environment(s types.ServiceConfig) {
	written := c.written[s.Name]
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		if strings.HasPrefix(name, prefix) && !c.known[name] {
			c.fault(s.Name, "nothing reads the variable %s", name)
		}
		if !strings.Contains(name, "PASSWORD") && !strings.Contains(name, "SECRET") {
			continue
		}
		if w := written[name]; w == nil || !strings.HasPrefix(*w, "${") {
			c.fault(s.Name, "the value of %s is written down: let the environment set it", name)
		}
	}
}

// volumes checks that data lies in named volumes, each declared and used.
func (c *checker) volumes() {
	used := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(c.project.Services)) {
		for _, v := range c.project.Services[name].Volumes {
			if v.Type != types.VolumeTypeVolume || v.Source == "" {
				c.fault(name, "%s is not in a named volume", v.Target)
			}
			used[v.Source] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.project.Volumes)) {
		if !used[name] {
			c.wrong = append(c.wrong, "volume "+name+": nothing uses it")
		}
	}
}
