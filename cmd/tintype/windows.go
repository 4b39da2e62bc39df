package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tintype/tintype/topologies"
)

// windowsCommand groups what looks at windows.
type windowsCommand struct {
	Ls   windowsLsCommand   `cmd:"" help:"List the aggregates, how far each source has come, and what was late, of a running process."`
	Show windowsShowCommand `cmd:"" help:"Show open windows of a running process."`
	Try  windowsTryCommand  `cmd:"" help:"Feed events from a file to windows, and print what comes of them."`
}

// processFlag names a running process by its HTTP face.
type processFlag struct {
	HTTP   string `name:"http" help:"HTTP address of the running process, which its log names (default: ${default})." default:"${http_listen}" placeholder:"ADDRESS"`
	Output string `short:"o" env:"-" help:"table, or json: one object." enum:"table,json" default:"table"`
}

// pageTimeout bounds a question to a process.
const pageTimeout = 30 * time.Second

// ask gets a page of the process as JSON.
func (f processFlag) ask(ctx context.Context, page string, query url.Values, to any) error {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	u := url.URL{Scheme: "http", Host: f.HTTP, Path: page, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return &usageError{fmt.Errorf("--http: %w", err)}
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return &setupError{fmt.Errorf("%w; is a process of tintype run there? Its log names its address", err)}
	}
	defer func() { _ = response.Body.Close() }() // It was read.
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return &setupError{fmt.Errorf("read %s: %w", u.String(), err)}
	}
	if response.StatusCode != http.StatusOK {
		return &setupError{fmt.Errorf("%s: %s: %s", u.String(), response.Status, strings.TrimSpace(string(body)))}
	}
	if err := json.Unmarshal(body, to); err != nil {
		return &setupError{fmt.Errorf("%s is no tintype: %w", u.String(), err)}
	}
	return nil
}

// windowsLsCommand lists aggregates and sources.
type windowsLsCommand struct{ processFlag }

// Help shows examples.
func (windowsLsCommand) Help() string {
	return "Examples:\n  tintype windows ls\n  tintype windows ls --http 127.0.0.1:9464 -o json\n\n" +
		"A process tells of the partitions that it holds. Windows close up to the watermark: the least stream time of all sources, " +
		"which are the partitions of the topic uploads."
}

// Run implements the command.
func (c *windowsLsCommand) Run(e *env) error {
	var status topologies.WindowsStatus
	if err := c.ask(e.ctx, "/windows", nil, &status); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(e.stdout, status)
	}
	t := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "AGGREGATE\tGRACE\tOPEN\tKEYS\tLATE\tCLOSED\tOVERFLOW") // Flush returns the error.
	for _, a := range status.Aggregates {
		_, _ = fmt.Fprintf(t, "%s\t%v\t%d\t%d\t%d\t%d\t%d\n", a.Name, time.Duration(a.GraceMS)*time.Millisecond, a.OpenWindows, a.Keys,
			a.Late["late"], a.Late["closed"], a.Late["overflow"])
	}
	_, _ = fmt.Fprintln(t, "\nPARTITION\tWATERMARK\tSOURCES")
	for _, p := range status.Partitions {
		var sources []string
		for _, s := range p.Sources {
			sources = append(sources, fmt.Sprintf("%d: %s", s.Partition, clockOf(s.StreamTimeMS)))
		}
		_, _ = fmt.Fprintf(t, "%d\t%s\t%s\n", p.Partition, clockOf(p.WatermarkMS), strings.Join(sources, "  "))
	}
	if status.Partial {
		_, _ = fmt.Fprintln(t, "\nThere are more keys than were counted.")
	}
	return t.Flush()
}

// clockOf shows a time, or that it is not known.
func clockOf(ms *int64) string {
	if ms == nil {
		return "unknown"
	}
	return time.UnixMilli(*ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// windowsShowCommand shows open windows.
type windowsShowCommand struct {
	processFlag
	Prefix string `arg:"" optional:"" help:"What the keys begin with, such as uploader:alice or format: (a key is dimension:value)."`
	Limit  int    `help:"How many windows to show at most." default:"100"`
}

// Help shows examples.
func (windowsShowCommand) Help() string {
	return "Examples:\n  tintype windows show\n  tintype windows show uploader:alice\n\n" +
		"Windows are shown as of the last commit, also what has not been sent as an early result yet."
}

// Run implements the command.
func (c *windowsShowCommand) Run(e *env) error {
	if c.Limit <= 0 {
		return &usageError{errors.New("--limit is more than 0")}
	}
	var open []topologies.OpenWindow
	if err := c.ask(e.ctx, "/windows/open", url.Values{"prefix": {c.Prefix}, "limit": {strconv.Itoa(c.Limit)}}, &open); err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(e.stdout, open)
	}
	t := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "AGGREGATE\tKEY\tSTART\tEND\tCOUNT\tBYTES IN\tBYTES OUT") // Flush returns the error.
	for _, o := range open {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", o.Aggregate, o.Key, clockOf(&o.StartMS), clockOf(&o.EndMS), o.Count, told(o.BytesIn), told(o.BytesOut))
	}
	return t.Flush()
}

// told shows a number, or nothing where none was told.
func told(n *int64) string {
	if n == nil {
		return ""
	}
	return strconv.FormatInt(*n, 10)
}
