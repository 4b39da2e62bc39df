// Command tintype turns a stream of photo uploads into renditions, metadata
// and live metrics in ClickHouse. See tintype --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"github.com/tintype/tintype/internal/lifecycle"
)

// version is set by the linker.
var version = "dev"

// Exit codes, as the README documents them.
const (
	exitOK = 0
	// exitFailed: the command ran, and what it was asked to do did not come out.
	exitFailed = 1
	// exitUsage: the command line is wrong.
	exitUsage = 2
	// exitSetup: a server, the engine or a right is missing; nothing was done.
	exitSetup = 3
)

// cli is the whole command line.
type cli struct {
	Demo     demoCommand     `cmd:"" help:"Start everything, develop photos, and show what came out."`
	Dev      devCommand      `cmd:"" help:"Run Kafka and ClickHouse on this machine, no server installed."`
	Run      runCommand      `cmd:"" help:"Run the stages: extract, transform, load."`
	Produce  produceCommand  `cmd:"" help:"Upload photos."`
	SQL      sqlCommand      `cmd:"" name:"sql" help:"Query ClickHouse."`
	Report   reportCommand   `cmd:"" help:"Run a ready-made query."`
	Audit    auditCommand    `cmd:"" help:"Prove that every upload has its row, once."`
	Verify   verifyCommand   `cmd:"" help:"Prove that windows are what the uploads make them."`
	Chaos    chaosCommand    `cmd:"" help:"Break a deployment of its own, and recount."`
	Topology topologyCommand `cmd:"" help:"Print the graph of groups and topics, from the code."`
	Doctor   doctorCommand   `cmd:"" help:"Check every server, topic and table, and say what to do."`
	Windows  windowsCommand  `cmd:"" help:"Look at windows."`
	Bench    benchCommand    `cmd:"" help:"Measure."`
	Version  versionCommand  `cmd:"" help:"Print the version."`

	LogLevel string `help:"Least level to log: debug, info, warn, error." enum:"debug,info,warn,error" default:"info"`
}

// env is what a command has from its process.
type env struct {
	ctx            context.Context
	stdin          io.Reader
	stdout, stderr io.Writer
	logLevel       string
}

func main() {
	ctx, stop := lifecycle.Signals(context.Background())
	code := run(&env{ctx: ctx, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}, os.Args[1:])
	stop()
	os.Exit(code)
}

// run parses and runs one command line and returns its exit code.
func run(e *env, args []string) int {
	code := exitOK
	exited := false
	parser, err := newParser(e, func(c int) { code, exited = c, true })
	if err != nil {
		return fail(e, exitUsage, err)
	}
	parsed, err := parser.Parse(args)
	if exited { // --help was asked for and printed.
		return code
	}
	if err != nil {
		return fail(e, exitUsage, fmt.Errorf("%w (try tintype --help)", err))
	}
	if err := parsed.Run(e); err != nil {
		return fail(e, exitCode(err), err)
	}
	return exitOK
}

// newParser builds the command line. Each flag has an environment variable,
// TINTYPE_ and its name; the flag wins over it, and it wins over the default.
func newParser(e *env, exit func(int)) (*kong.Kong, error) {
	c := new(cli)
	return kong.New(c,
		kong.Name("tintype"),
		kong.Description("Streaming image ETL: photo uploads from Kafka, renditions and rows in ClickHouse, exactly once.\n\n"+
			"Every flag but -o can be set by an environment variable: TINTYPE_ and its name, such as TINTYPE_KAFKA. "+
			"Passwords come from TINTYPE_KAFKA_PASSWORD, TINTYPE_CLICKHOUSE_PASSWORD and TINTYPE_REGISTRY_PASSWORD, "+
			"or from the files that the same names with _FILE point at.\n\n"+
			"Exit codes: 0 done, 1 not all came out as asked, 2 wrong command line, 3 a server, the engine or a right is missing."),
		kong.DefaultEnvars("TINTYPE"),
		kong.Vars(flagDefaults()),
		kong.Writers(e.stdout, e.stderr),
		kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Bind(e),
		kong.WithAfterApply(func(*kong.Context) error { e.logLevel = c.LogLevel; return nil }),
	)
}

// setupError is an error of a server or a right that is missing.
type setupError struct{ err error }

func (e *setupError) Error() string { return e.err.Error() }
func (e *setupError) Unwrap() error { return e.err }

// usageError is an error in what the command line asks for.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func exitCode(err error) int {
	var setup *setupError
	var usage *usageError
	switch {
	case errors.As(err, &setup):
		return exitSetup
	case errors.As(err, &usage):
		return exitUsage
	}
	return exitFailed
}

// fail prints an error in one place and returns the code.
func fail(e *env, code int, err error) int {
	_, _ = fmt.Fprintln(e.stderr, "tintype:", err) // There is nowhere else to say it.
	return code
}

// versionCommand prints the version.
type versionCommand struct{}

// Help shows an example.
func (versionCommand) Help() string { return "Example:\n  tintype version" }

// Run implements the command.
func (versionCommand) Run(e *env) error {
	_, err := fmt.Fprintln(e.stdout, "tintype", version)
	return err
}
