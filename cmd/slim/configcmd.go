package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/config"
	"github.com/seed31b3bfd0/slimgo/router"
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
       Certificates, keys and rules that they name are loaded, too, as a node would; nothing is listened on or dialled.
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
		c, faults, warnings := config.Check(file, p.env)
		if c != nil {
			faults = p.checkStart(c)
		}
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

// checkStart returns what a start with c would refuse that the file alone does not show: it loads the files of all
// certificates and keys, and looks whether the endpoints can be listened on together, but opens none.
func (p *program) checkStart(c *config.Config) (faults []config.Reason) {
	add := func(errs []error) {
		for _, err := range errs {
			r := config.Reason{File: c.File, Text: err.Error()}
			if at := (*placed)(nil); errors.As(err, &at) {
				r = at.Reason
			}
			faults = append(faults, r)
		}
	}
	var all []router.Endpoint
	var of []*config.Service
	first := map[*config.Service]int{} // in all
	for i := range c.Services {
		s := &c.Services[i]
		_, errs := p.secure(c, s, nil)
		add(errs)
		verified, errs := p.verifiers(c, s, nil)
		closeVerified(verified, nil)
		add(errs)
		links, _, errs := p.links(c, s, nil)
		closeLinks(links)
		add(errs)
		static, errs := p.staticPeers(c, s)
		closeLinks(slices.Collect(maps.Values(static)))
		add(errs)
		_, errs = authorize(c, s, nil)
		add(errs)
		if r := s.Registration; r != nil && r.Type == "jwt" && controlled(s) {
			source, err := newRegistrationSource(c, s)
			if err != nil {
				add([]error{err})
			} else {
				_ = source.Close()
			}
		}
		first[s] = len(all)
		for j := range s.Dataplane.Servers {
			e := router.Endpoint{Addr: s.Dataplane.Servers[j].Endpoint}
			if !s.Dataplane.Servers[j].TLS.Insecure {
				e.TLS = new(tls.Config)
			}
			all, of = append(all, e), append(of, s)
		}
	}
	for _, err := range apart(router.CheckEndpoints(all)) {
		if e := (*router.ListenError)(nil); errors.As(err, &e) {
			s := of[e.Index]
			e.Index -= first[s]
			add([]error{endpointFault(c, s, e)})
		}
	}
	slices.SortStableFunc(faults, func(a, b config.Reason) int {
		return cmp.Or(cmp.Compare(a.Position.Line, b.Position.Line), cmp.Compare(a.Position.Column, b.Position.Column))
	})
	return faults
}

// apart returns the errors that err joins; none if it is nil.
func apart(err error) []error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return all.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
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
