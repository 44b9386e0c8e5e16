package main

import (
	"errors"
	"fmt"

	"github.com/seed31b3bfd0/slimgo/config"
	naming "github.com/seed31b3bfd0/slimgo/internal/auth/rules"
)

// names are the rules for names of a service, as loaded; the zero value: it has none.
type names struct {
	file, digest string
	set          *naming.Set
}

// authorize loads the rules that a service has for names. What old, which runs, has loaded of the same file stays in use if that
// is as before: then nothing is judged again.
func authorize(c *config.Config, s *config.Service, old *service) (names, []error) {
	if len(s.Dataplane.Servers) == 0 || s.Dataplane.Servers[0].Authorization == "" {
		return names{}, nil
	}
	n := names{file: s.Dataplane.Servers[0].Authorization}
	n.digest = digest(n.file) // before: what changes meanwhile is seen
	if old != nil && old.names.file == n.file && old.names.digest == n.digest {
		return old.names, nil
	}
	set, reasons := config.LoadRules(n.file)
	var faults []error
	for i := range reasons {
		r := reasons[i]
		if r.Position.Line == 0 { // the file cannot be read
			r = config.Reason{File: c.File, Position: s.Dataplane.Servers[0].Position, Text: r.String(),
				Path: fmt.Sprintf("services.%s.dataplane.servers[0].authorization", s.ID)}
		}
		faults = append(faults, &failure{context: []string{"failed to start service", "configuration error", "rules for names"},
			cause: &placed{r, errors.New(r.Text)}})
	}
	n.set = set
	return n, faults
}

// ruleFiles are the files of rules of all services.
func ruleFiles(c *config.Config) (files []string) {
	for i := range c.Services {
		if s := c.Services[i].Dataplane.Servers; len(s) > 0 && s[0].Authorization != "" {
			files = append(files, s[0].Authorization)
		}
	}
	return files
}
