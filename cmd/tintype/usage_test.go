package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// closed is an address that nothing listens on.
const closed = "127.0.0.1:1"

// commands are the paths of all commands.
func commands(t *testing.T) [][]string {
	t.Helper()
	parser, err := newParser(&env{stdout: t.Output(), stderr: t.Output()}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for _, leaf := range parser.Model.Leaves(true) {
		all = append(all, strings.Fields(leaf.FullPath())[1:])
	}
	return all
}

func TestHelp(t *testing.T) {
	all := commands(t)
	if len(all) < 10 {
		t.Errorf("there are %d commands: %v", len(all), all)
	}
	whole := want(t, exitOK, "--help").stdout
	for _, command := range all {
		name := strings.Join(command, " ")
		if !strings.Contains(whole, name+" ") {
			t.Errorf("the help does not list %s", name)
		}
		r := want(t, exitOK, append(command, "--help")...)
		_, examples, _ := strings.Cut(r.stdout, "Example")
		if !strings.Contains(examples, "tintype "+name) || r.stderr != "" {
			t.Errorf("the help of %s has no example:\n%s%s", name, r.stdout, r.stderr)
		}
	}
	for _, fact := range []string{"Exit codes: 0 ", "TINTYPE_KAFKA", "TINTYPE_CLICKHOUSE_PASSWORD", "_FILE"} {
		if !strings.Contains(strings.Join(strings.Fields(whole), " "), fact) {
			t.Errorf("the help does not tell %s", fact)
		}
	}
	if r := want(t, exitOK, "version"); !strings.HasPrefix(r.stdout, "tintype ") {
		t.Errorf("the version is %q", r.stdout)
	}
}

// A wrong command line is refused with one line, before anything is asked or
// started.
func TestUsage(t *testing.T) {
	t.Parallel()
	for line, message := range map[string]string{
		"":                                   "expected one of",
		"nonsense":                           "unexpected argument nonsense",
		"run --nonsense":                     "unknown flag --nonsense",
		"run --log-level loud":               "--log-level",
		"run surplus":                        "unexpected argument surplus",
		"run --sizes 12parsecs":              "--sizes",
		"run --sizes=":                       "--sizes",
		"run --only extract,nonsense":        "--only",
		"run --kafka nonsense":               "--kafka",
		"run --kafka http://127.0.0.1:1":     "--kafka",
		"run --kafka kafka://me@h:1?sasl=no": "--kafka",
		"run --clickhouse http://127.0.0.1":  "--clickhouse",
		"run --decode-budget soon":           "--decode-budget",
		"run --decode-budget -1s":            "--decode-budget",
		"run --render-memory 0":              "--render-memory",
		"run --partitions -1":                "--partitions",
		"run --partitions many":              "--partitions",
		"produce":                            "--synthetic",
		"produce --synthetic 1 x.jpg":        "--synthetic",
		"produce --synthetic -1":             "--synthetic",
		"produce --rate -1 x.jpg":            "--rate",
		"produce --rate fast x.jpg":          "--rate",
		"produce --repeat 0 x.jpg":           "--repeat",
		"produce --inline-limit -1 x.jpg":    "--inline-limit",
		"produce --carry pigeon x.jpg":       "--carry",
		"produce --upload-id a .":            "--upload-id",
		"produce --upload-id a -":            "--upload-id",
		"produce --upload-id a x.jpg y.jpg":  "--upload-id",
		"produce --upload-id a --repeat 2 x": "--upload-id",
		"produce --kafka nonsense x.jpg":     "--kafka",
		"sql":                                "<query>",
		"sql -":                              "empty",
		"sql -o xml x":                       "--output",
		"sql --clickhouse http://h x":        "--clickhouse",
		"report nonsense":                    "freshness",
		"doctor --kafka nonsense":            "--kafka",
		"doctor --clickhouse http://h":       "--clickhouse",
		"doctor --timeout soon":              "--timeout",
		"dev --kafka-listen nonsense":        "--kafka-listen",
		"dev --clickhouse-listen :":          "--clickhouse-listen",
		"dev -o xml":                         "--output",
		"demo --synthetic 0":                 "--synthetic",
		"demo --kafka 127.0.0.1:1":           "--clickhouse",
		"demo --kafka x --clickhouse h:1":    "--kafka",
		"topology surplus":                   "surplus",
		"audit --since yesterday":            "--since",
		"audit --kafka nonsense":             "--kafka",
		"audit --wait-timeout -1s":           "--wait-timeout",
		"verify --since yesterday":           "--since",
		"verify --kafka nonsense":            "--kafka",
		"verify --wait-timeout -1s":          "--wait-timeout",
		"verify --window [":                  "--window",
		"verify --window x@noon":             "--window",
		"run --delivery twice":               "--delivery",
		"run --repeat-ttl 0s":                "--repeat-ttl",
		"bench":                              "throughput",
		"version surplus":                    "surplus",
		"chaos --minutes 1":                  "--minutes",
		"chaos --workers 0":                  "--workers",
		"chaos --rate 0":                     "--rate",
		"chaos --seed x":                     "--seed",
		"chaos --delivery twice":             "--delivery",
		"chaos -o xml":                       "--output",
		"chaos surplus":                      "surplus",
	} {
		r := tintype(t, "", strings.Fields(line)...)
		if r.code != exitUsage || r.stdout != "" || !oneLine(r.stderr) || !strings.Contains(r.stderr, message) {
			t.Errorf("tintype %s: exit code %d, want 2 and one line with %q\n%s%s", line, r.code, message, r.stdout, r.stderr)
		}
	}
}

// oneLine reports whether a message is what a person reads at a glance.
func oneLine(message string) bool {
	return strings.HasPrefix(message, "tintype: ") && strings.Count(message, "\n") == 1
}

// A server that is not there is one line that names its flag.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	for line, flag := range map[string]string{
		"run --kafka " + closed:                                          "--kafka",
		"run --only extract --kafka kafka://me@" + closed:                "--kafka",
		"produce x.jpg --kafka " + closed:                                "--kafka",
		"produce x.jpg --wait --kafka " + closed:                         "--kafka",
		"audit --kafka " + closed:                                        "--kafka",
		"verify --kafka " + closed:                                       "--kafka",
		"sql --clickhouse " + closed + " SELECT":                         "--clickhouse",
		"report freshness --clickhouse clickhouse://me@" + closed:        "--clickhouse",
		"demo --once --kafka " + closed + " --clickhouse " + closed:      "--kafka",
		"bench throughput --kafka " + closed + " --clickhouse " + closed: "--kafka",
	} {
		r := tintype(t, "", strings.Fields(line)...)
		if r.code != exitSetup || r.stdout != "" || !oneLine(r.stderr) || !strings.Contains(r.stderr, flag) || !strings.Contains(r.stderr, closed) {
			t.Errorf("tintype %s: exit code %d, want 3 and one line with %s and %s\n%s%s", line, r.code, flag, closed, r.stdout, r.stderr)
		}
	}
	// The servers are fine but for ClickHouse.
	kafka := newPlace(t).kafka
	r := tintype(t, "", "run", "--kafka", kafka, "--clickhouse", closed, "--blobs", "mem://", "--state-dir", t.TempDir())
	if r.code != exitSetup || !oneLine(r.stderr) || !strings.Contains(r.stderr, "--clickhouse") {
		t.Errorf("without ClickHouse: exit code %d, want 3\n%s", r.code, r.stderr)
	}
	r = tintype(t, "", "produce", "--kafka", kafka, "--blobs", "pigeons://loft", "x.jpg")
	if r.code != exitSetup || !oneLine(r.stderr) || !strings.Contains(r.stderr, "pigeons") {
		t.Errorf("without a blob store: exit code %d, want 3\n%s", r.code, r.stderr)
	}
}

// What cannot be started is said in one line that names the flag.
func TestDevRefuses(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	taken, self := l.Addr().String(), os.Args[0]
	free := []string{"--engine-lib", self, "--kafka-listen", "127.0.0.1:0", "--clickhouse-listen", "127.0.0.1:0", "--clickhouse-http-listen", "127.0.0.1:0"}
	for _, c := range []struct {
		message string
		args    []string
	}{
		{"--kafka-listen", []string{"--dir", t.TempDir(), "--chserver", self, "--kafka-listen", taken}},
		{"--clickhouse-listen", []string{"--dir", t.TempDir(), "--chserver", self, "--clickhouse-listen", taken}},
		{"--clickhouse-http-listen", []string{"--dir", t.TempDir(), "--chserver", self, "--clickhouse-http-listen", taken}},
		{"--dir", []string{"--dir", filepath.Join(self, "below-a-file"), "--chserver", self}},
		{"chserver", []string{"--dir", t.TempDir(), "--chserver", self + ".none"}},
		{"--chserver", []string{"--dir", t.TempDir()}},
	} {
		r := tintype(t, "", append(append([]string{"dev"}, free...), c.args...)...)
		if r.code != exitSetup || !oneLine(r.stderr) || !strings.Contains(r.stderr, c.message) {
			t.Errorf("dev %v: exit code %d, want 3 and one line with %s\n%s", c.args, r.code, c.message, r.stderr)
		}
	}
}

// A demo leaves a default address to who has it, and takes a free port.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	taken := l.Addr().String()
	defaults := map[string]string{"kafka_listen": taken, "clickhouse_listen": "127.0.0.1:0", "clickhouse_http_listen": closed}
	e := &env{ctx: t.Context(), stderr: t.Output()}
	f := stackFlags{KafkaListen: taken, ClickHouseListen: "127.0.0.1:0", ClickHouseHTTPListen: taken}.elsewhere(e, defaults)
	if f.KafkaListen != "127.0.0.1:0" || f.ClickHouseListen != "127.0.0.1:0" || f.ClickHouseHTTPListen != taken {
		t.Errorf("moved to %+v: only a default that is in use moves", f)
	}
}

// A flag wins over its environment variable, which wins over the default.
func TestPrecedence(t *testing.T) {
	for variable, c := range map[string]struct{ command, flag, standard, other string }{
		"TINTYPE_KAFKA":             {"run", "kafka", "127.0.0.1:9092", "k:1"},
		"TINTYPE_CLICKHOUSE":        {"sql x", "clickhouse", "127.0.0.1:9000", "c:1"},
		"TINTYPE_BLOBS":             {"doctor", "blobs", flagDefaults()["blobs"], "mem://"},
		"TINTYPE_PARTITIONS":        {"produce x", "partitions", "4", "7"},
		"TINTYPE_CREATE_TOPICS":     {"run", "create-topics", "true", "false"},
		"TINTYPE_LOG_LEVEL":         {"topology", "log-level", "info", "debug"},
		"TINTYPE_CLICKHOUSE_LISTEN": {"dev", "clickhouse-listen", "127.0.0.1:9000", "127.0.0.1:0"},
		"TINTYPE_UPLOAD_ID_PREFIX":  {"produce x", "upload-id-prefix", "", "p"},
	} {
		if got := flagValue(t, c.command, c.flag); got != c.standard {
			t.Errorf("--%s is %q by default, want %q", c.flag, got, c.standard)
		}
		t.Setenv(variable, c.other)
		if got := flagValue(t, c.command, c.flag); got != c.other {
			t.Errorf("--%s is %q, want %q of the environment", c.flag, got, c.other)
		}
		given := c.standard
		if given == "" {
			given = "given"
		}
		if got := flagValue(t, c.command+" --"+c.flag+"="+given, c.flag); got != given {
			t.Errorf("--%s is %q, want the %q that was given", c.flag, got, given)
		}
	}
}

// flagValue is what a command line makes of a flag.
func flagValue(t *testing.T, line, name string) string {
	t.Helper()
	parser, err := newParser(&env{stdout: t.Output(), stderr: t.Output()}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(strings.Fields(line))
	if err != nil {
		t.Fatal(err)
	}
	var value *kong.Flag
	for _, f := range parsed.Flags() {
		if f.Name == name {
			value = f
		}
	}
	if value == nil {
		t.Fatalf("%s has no flag --%s", line, name)
	}
	return fmt.Sprint(parsed.FlagValue(value))
}

// Passwords are in no help, error, log or result, wherever they came from.
func TestPasswordsAreNeverPrinted(t *testing.T) {
	const secret = "hunter2"
	for _, name := range []string{"TINTYPE_KAFKA_PASSWORD", "TINTYPE_CLICKHOUSE_PASSWORD", "TINTYPE_REGISTRY_PASSWORD"} {
		t.Setenv(name, secret+name)
	}
	kafka, clickHouse := "kafka://me:"+secret+"@"+closed, "clickhouse://me:"+secret+"@"+closed+"/x"
	lines := [][]string{
		{"run", "--kafka", kafka, "--log-level", "debug"},
		{"run", "--kafka", "kafka://me:" + secret + "@nonsense"},
		{"run", "--kafka", "kafka://me:" + secret + "@" + closed + "?sasl=no"},
		{"produce", "--kafka", kafka, "x.jpg"},
		{"sql", "--clickhouse", clickHouse, "SELECT 1"},
		{"sql", "--clickhouse", "clickhouse://me:" + secret + "@h:nonsense", "SELECT 1"},
		{"sql", "--clickhouse", "http://me:" + secret + "@h", "SELECT 1"},
		{"doctor", "--kafka", kafka, "--clickhouse", clickHouse, "--registry", "http://me:" + secret + "@" + closed, "--blobs", "mem://me:" + secret + "@x"},
		{"doctor", "-o", "json", "--kafka", kafka, "--clickhouse", clickHouse, "--registry", "http://me:" + secret + "@" + closed},
		{"demo", "--once", "--kafka", kafka, "--clickhouse", clickHouse},
		{"run", "--blobs", "s3://me:" + secret + "@x?nonsense=%", "--kafka", kafka},
	}
	for _, command := range commands(t) {
		lines = append(lines, append(command, "--help"))
	}
	check := func(args []string) {
		r := tintype(t, "", args...)
		if strings.Contains(r.stdout+r.stderr, secret) {
			t.Errorf("tintype %v shows a password:\n%s%s", args, r.stdout, r.stderr)
		}
	}
	for _, args := range lines {
		check(args)
	}
	t.Setenv("TINTYPE_KAFKA", kafka)
	t.Setenv("TINTYPE_CLICKHOUSE", clickHouse)
	for _, args := range lines[len(lines)-len(commands(t)):] {
		check(args)
	}
	check([]string{"run"})
	check([]string{"sql", "SELECT 1"})
	if got := redacted("kafka+tls://me:" + secret + "@a:1,b:1?sasl=plain"); got != "kafka+tls://me@a:1,b:1?sasl=plain" {
		t.Errorf("redacted: %q", got)
	}
}

// A password's file that is not there is said by the name of its variable.
func TestPasswordFile(t *testing.T) {
	t.Setenv("TINTYPE_CLICKHOUSE_PASSWORD_FILE", filepath.Join(t.TempDir(), "none"))
	for _, args := range [][]string{{"sql", "x"}, {"run"}, {"doctor"}, {"dev", "--dir", t.TempDir()}} {
		r := tintype(t, "", args...)
		if r.code != exitSetup || !oneLine(r.stderr) || !strings.Contains(r.stderr, "TINTYPE_CLICKHOUSE_PASSWORD_FILE") {
			t.Errorf("tintype %v: exit code %d, want 3\n%s", args, r.code, r.stderr)
		}
	}
}

func TestTopology(t *testing.T) {
	t.Parallel()
	golden := filepath.Join("testdata", "topology.txt")
	got := want(t, exitOK, "topology").stdout
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expected, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(expected) {
		t.Errorf("the topology is\n%s\nwant (-update writes it)\n%s", got, expected)
	}
}

// A variable reaches every command with a flag of its name, whichever runs: one
// name is one kind of value.
func TestVariablesMeanOneThing(t *testing.T) {
	parser, err := newParser(&env{stdout: t.Output(), stderr: t.Output()}, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	for _, command := range parser.Model.Leaves(false) {
		for _, flag := range command.Flags {
			kind := fmt.Sprintf("%s of %q", flag.Target.Type(), flag.Enum)
			for _, variable := range flag.Envs {
				if other, known := kinds[variable]; known && other != kind {
					t.Errorf("%s is %s, and %s elsewhere", variable, kind, other)
				}
				kinds[variable] = kind
			}
		}
	}
	if len(kinds) < 10 || kinds["TINTYPE_KAFKA"] == "" || kinds["TINTYPE_OUTPUT"] != "" {
		t.Errorf("the variables are %v", kinds)
	}
}
