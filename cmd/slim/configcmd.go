package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/config"
)

// configFlags are those of slim config.
type configFlags struct {
	strict bool
	output string
}

var configCommand = subcommand{
	usage: "slim config check [--strict] [--output <FORM>] <FILE>...\n       slim config show [--output <FORM>] <FILE>",
	help: `Look at configurations without starting a node.

Usage: slim config check [--strict] [--output <FORM>] <FILE>...
       slim config show [--output <FORM>] <FILE>

check  Tells everything that is wrong with files, as FILE:LINE:COLUMN: KEY: WHAT, and what will be ignored, as warnings.
show   Prints the configuration as it takes effect: defaults filled in, references replaced, secrets redacted.

Options:
      --strict          Take warnings for errors, as --strict-config does
      --output <FORM>   text or json [default: text; of show, that is YAML]
  -h, --help            Print help

Exit codes: 0 all files are valid, 1 one is not, 2 wrong command line.

Examples:
  slim config check node.yaml
  slim config check --strict config/*/server-config.yaml
  slim config show node.yaml
  slim config show --output json node.yaml
`,
	flags: func(s *pflag.FlagSet) any {
		f := &configFlags{output: "text"}
		s.BoolVar(&f.strict, "strict", false, "")
		s.Var(&choice{to: &f.output, words: []string{"text", "json"}}, "output", "")
		return f
	},
	run: func(p *program, _ context.Context, into any, args []string) error {
		f := into.(*configFlags)
		switch {
		case len(args) == 0:
			return usage{"a subcommand is required: check or show"}
		case args[0] != "check" && args[0] != "show":
			return usage{fmt.Sprintf("unknown subcommand '%s': want check or show", args[0])}
		case len(args) == 1:
			return usage{"the file to look at is missing"}
		case args[0] == "check":
			return p.checkConfigs(args[1:], f)
		case len(args) > 2:
			return usage{fmt.Sprintf("unexpected argument '%s' found: show takes one file", args[2])}
		case f.strict:
			return usage{"the argument '--strict' is one of check"}
		}
		return p.showConfig(args[1], f)
	},
}

// finding is a fault or warning in JSON.
type finding struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Key     string `json:"key,omitempty"`
	Text    string `json:"text"`
	Warning bool   `json:"warning,omitempty"`
}

func newFinding(r config.Reason, warning bool) finding {
	bare := config.Reason{Text: r.Text, Nearest: r.Nearest, Hint: r.Hint}
	return finding{File: r.File, Line: r.Position.Line, Column: r.Position.Column, Key: r.Path, Text: bare.String(),
		Warning: warning}
}

// checkConfigs tells what is wrong with files, one after the other.
func (p *program) checkConfigs(files []string, f *configFlags) error {
	all := []finding{}
	failed := false
	for _, file := range files {
		_, faults, warnings := config.Check(file, p.env)
		bad := len(faults) > 0 || f.strict && len(warnings) > 0
		failed = failed || bad
		for _, r := range faults {
			all = append(all, newFinding(r, false))
		}
		for _, w := range warnings {
			all = append(all, newFinding(config.Reason(w), true))
		}
		if f.output == "json" {
			continue
		}
		for _, r := range faults {
			fmt.Fprintln(p.stdout, r)
		}
		for _, w := range warnings {
			fmt.Fprintln(p.stdout, "warning:", w)
		}
		if !bad {
			fmt.Fprintf(p.stdout, "%s: valid\n", file)
		}
	}
	if f.output == "json" {
		if err := p.printJSON(all); err != nil {
			return err
		}
	}
	if failed {
		return silent{}
	}
	return nil
}

func (p *program) showConfig(file string, f *configFlags) error {
	c, faults, _ := config.Check(file, p.env)
	if len(faults) > 0 {
		for _, r := range faults {
			fmt.Fprintln(p.stderr, r)
		}
		return silent{}
	}
	if f.output == "json" {
		return p.printJSON(c.Show())
	}
	_, err := p.stdout.Write(c.Show().YAML())
	return err
}

func (p *program) printJSON(v any) error {
	e := json.NewEncoder(p.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
