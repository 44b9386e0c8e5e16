package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/config"
)

// Rules: P-conf-19.
func TestFilter(t *testing.T) {
	level := func(f *Filter, target string) string {
		l := f.current().level(target)
		if l == LevelOff {
			return "off"
		}
		name, _ := levelName(l)
		return strings.ToLower(name)
	}
	conf := func(level string, modules ...string) Selection { return Selection{Level: level, Modules: modules} }
	defaults := conf("info", config.DefaultFilters()...)
	const unset = "\x00"
	for _, tt := range []struct {
		name     string
		conf     Selection
		rust     string
		override string
		want     string // levels of slim_service::service, slim::runner, h2
	}{
		{"defaults", defaults, unset, "", "info info off"},
		{"level", conf("debug", config.DefaultFilters()...), unset, "", "debug debug off"},
		{"level in capitals", conf("DEBUG", config.DefaultFilters()...), unset, "", "debug debug off"},
		{"level that is none", conf("bogus", config.DefaultFilters()...), unset, "", "info info off"},
		{"filters", conf("info", "slim_service", "slim=debug"), unset, "", "info debug off"},
		{"one filter", conf("warn", "slim_service"), unset, "", "warn off off"},
		{"longest prefix wins", conf("info", "slim=error", "slim_service=trace"), unset, "", "trace error off"},
		{"prefix is a string, not a module", conf("info", "sl"), unset, "", "info info off"},
		{"no filter shows everything", conf("debug"), unset, "", "debug debug debug"},
		{"bad filter is dropped", conf("info", "slim_service=loud"), unset, "", "off off off"},
		{"RUST_LOG module", defaults, "slim_service", "", "trace off off"},
		{"RUST_LOG module and level", defaults, "slim_service=debug", "", "debug off off"},
		{"RUST_LOG level", defaults, "warn", "", "warn warn warn"},
		{"RUST_LOG empty", defaults, "", "", "off off off"},
		{"RUST_LOG level in capitals is off", defaults, "INFO", "", "off off off"},
		{"RUST_LOG number is off", defaults, "3", "", "off off off"},
		{"RUST_LOG both", defaults, "slim_service=2,info", "", "warn info info"},
		{"RUST_LOG span", defaults, "[run]=trace,info", "", "info info info"},
		{"--log-level goes first", defaults, "off", "debug", "debug debug off"},
		{"--log-level off", defaults, unset, "off", "off off off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.conf.Override = tt.override
			if tt.rust != unset {
				tt.conf.RustLog = &tt.rust
			}
			f := NewFilter(tt.conf)
			got := level(f, "slim_service::service") + " " + level(f, "slim::runner") + " " + level(f, "h2")
			if got != tt.want {
				t.Errorf("levels %q, want %q", got, tt.want)
			}
		})
	}
}

func TestGateUsesTheTargetOfTheLogger(t *testing.T) {
	b := &bytes.Buffer{}
	l := NewLogger(b, LogOptions{Filter: NewFilter(Selection{Level: "info", Modules: []string{"slim_datapath=debug"}}), Now: fixedNow})
	l.Info("hidden: target slim has no directive")
	d := l.With(KeyTarget, "slim_datapath::x")
	d.Debug("shown")
	d.With("k", 1).Debug("shown too")
	d.Log(t.Context(), LevelTrace, "hidden")
	l.Debug("shown by its own target", KeyTarget, "slim_datapath::y")
	d.Info("hidden by its own target", KeyTarget, "h2")
	if strings.Contains(b.String(), "target=") || !strings.Contains(b.String(), "slim_datapath::y: ") {
		t.Errorf("the target of a record is a column, not a field:\n%s", b)
	}
	if got := strings.Count(b.String(), "shown"); got != 3 || strings.Contains(b.String(), "hidden") {
		t.Errorf("log\n%s", b)
	}
	if allocs := testing.AllocsPerRun(100, func() { d.Log(t.Context(), LevelTrace, "hidden") }); allocs > 1 {
		t.Errorf("%v allocations for a hidden record", allocs)
	}
}
