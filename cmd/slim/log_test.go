package main

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/config"
)

func fixedNow() time.Time {
	return time.Date(2026, 11, 22, 17, 4, 17, 837014999, time.FixedZone("", 3600))
}

func lines(l look) (*bytes.Buffer, *slog.Logger) {
	b := &bytes.Buffer{}
	h := &lineHandler{sink: &sink{w: b, threads: map[string]int{"main": 1}, widest: 4, now: fixedNow}, look: l, thread: "main"}
	return b, slog.New(h)
}

// TestLineShape pins upstream's stdout lines (P-conf-18), recorded from the 3.4.6 node.
func TestLineShape(t *testing.T) {
	const span = "application_lifecycle:run{service_id=slim/0}"
	for _, tt := range []struct {
		name string
		look look
		log  func(*slog.Logger)
		want string
	}{
		{"plain", look{}, func(l *slog.Logger) {
			l.With(keyTarget, "slim_service::service", keySpan, span).Info("dataplane server started", "endpoint", "0.0.0.0:1")
		}, "2026-11-22T16:04:17.837014Z  INFO " + span + ": slim_service::service: 0: dataplane server started endpoint=0.0.0.0:1\n"},
		{"thread names widen", look{names: true}, func(l *slog.Logger) {
			l.Info("a")
			l.With(keyThread, "slim-data-plane").Debug("b")
			l.Error("c")
		}, "2026-11-22T16:04:17.837014Z  INFO main slim: 0: a\n" +
			"2026-11-22T16:04:17.837014Z DEBUG slim-data-plane slim: 0: b\n" +
			"2026-11-22T16:04:17.837014Z ERROR            main slim: 0: c\n"},
		{"thread ids", look{names: true, ids: true}, func(l *slog.Logger) {
			l.Warn("a")
			l.With(keyThread, "w").Warn("b")
		}, "2026-11-22T16:04:17.837014Z  WARN main ThreadId(01) slim: 0: a\n" +
			"2026-11-22T16:04:17.837014Z  WARN    w ThreadId(02) slim: 0: b\n"},
		{"no message", look{}, func(l *slog.Logger) { l.Info("", "a", 1, "b", 2) }, "2026-11-22T16:04:17.837014Z  INFO slim: 0: a=1 b=2\n"},
		{"no message, field of With", look{}, func(l *slog.Logger) { l.With("a", 1).Info("", "b", 2) }, "2026-11-22T16:04:17.837014Z  INFO slim: 0: a=1 b=2\n"},
		{"group", look{}, func(l *slog.Logger) { l.WithGroup("g").Info("m", slog.Group("h", "a", 1), "b", errors.New("e")) },
			"2026-11-22T16:04:17.837014Z  INFO slim: 0: m g.h.a=1 g.b=e\n"},
		{"trace", look{}, func(l *slog.Logger) { l.Log(t.Context(), levelTrace, "m") }, "2026-11-22T16:04:17.837014Z TRACE slim: 0: m\n"},
		{"text of peers cannot break a line", look{}, func(l *slog.Logger) { l.Info("m", "id", "x\n2026 INFO forged\x1b[31m", "raw", "\xff") },
			`2026-11-22T16:04:17.837014Z  INFO slim: 0: m id="x\n2026 INFO forged\x1b[31m" raw="\xff"` + "\n"},
		{"build info keeps its lines", look{}, func(l *slog.Logger) { l.Info("", "build_info", buildInfo{Version: "1"}) },
			"2026-11-22T16:04:17.837014Z  INFO slim: 0: build_info=Version:\t1\nBuild Date:\t\nGit SHA:\t\nProfile:\t\n"},
		{"colours", look{colour: true}, func(l *slog.Logger) { l.Info("m") },
			"\x1b[2m2026-11-22T16:04:17.837014Z\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2mslim:\x1b[0m 0: m\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, l := lines(tt.look)
			tt.log(l)
			got := sourceLine.ReplaceAllString(b.String(), "${1}0: ")
			if tt.look.colour {
				got = strings.Join(strings.Split(got, "\x1b[0m ")[:3], "\x1b[0m ") + "\x1b[0m 0: m\n"
			}
			if got != tt.want {
				t.Errorf("got\n%q\nwant\n%q", got, tt.want)
			}
		})
	}
}

// Rules: P-conf-18.
func TestColoursNeedATerminalAndNoNoColor(t *testing.T) {
	for _, tt := range []struct {
		terminal bool
		noColor  string
		want     bool
	}{{true, "", true}, {true, "1", false}, {false, "", false}} {
		r := newRig()
		r.terminal, r.env["NO_COLOR"] = tt.terminal, tt.noColor
		r.program.run(t.Context(), nil)
		if got := strings.Contains(r.out.String(), "\x1b["); got != tt.want {
			t.Errorf("terminal %t, NO_COLOR=%q: colours %t, want %t", tt.terminal, tt.noColor, got, tt.want)
		}
	}
}

// Rules: P-conf-19.
func TestFilter(t *testing.T) {
	const never = slog.Level(math.MaxInt)
	level := func(f *filter, target string) string {
		l := f.level(target)
		if l == levelOff || l == never {
			return "off"
		}
		name, _ := levelName(l)
		return strings.ToLower(name)
	}
	conf := func(level string, filters ...string) config.Tracing {
		return config.Tracing{LogLevel: level, Filters: filters}
	}
	defaults := config.Default().Tracing
	unset := "\x00"
	for _, tt := range []struct {
		name     string
		conf     config.Tracing
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
			f := newFilter(&tt.conf, tt.rust, tt.rust != unset, tt.override)
			got := level(f, "slim_service::service") + " " + level(f, "slim::runner") + " " + level(f, "h2")
			if got != tt.want {
				t.Errorf("levels %q, want %q", got, tt.want)
			}
		})
	}
}

func TestGateUsesTheTargetOfTheLogger(t *testing.T) {
	b := &bytes.Buffer{}
	h := &lineHandler{sink: &sink{w: b, now: fixedNow, threads: map[string]int{}}}
	l := slog.New(newGate(h, newFilter(&config.Tracing{LogLevel: "info", Filters: []string{"slim_datapath=debug"}}, "", false, "")))
	l.Info("hidden: target slim has no directive")
	d := l.With(keyTarget, "slim_datapath::x")
	d.Debug("shown")
	d.With("k", 1).Debug("shown too")
	d.Log(t.Context(), levelTrace, "hidden")
	l.Debug("shown by its own target", keyTarget, "slim_datapath::y")
	d.Info("hidden by its own target", keyTarget, "h2")
	if strings.Contains(b.String(), "target=") || !strings.Contains(b.String(), "slim_datapath::y: ") {
		t.Errorf("the target of a record is a column, not a field:\n%s", b)
	}
	if got := strings.Count(b.String(), "shown"); got != 3 || strings.Contains(b.String(), "hidden") {
		t.Errorf("log\n%s", b)
	}
	if allocs := testing.AllocsPerRun(100, func() { d.Log(t.Context(), levelTrace, "hidden") }); allocs > 1 {
		t.Errorf("%v allocations for a hidden record", allocs)
	}
}

func TestJSONLinesHaveEachKeyOnce(t *testing.T) {
	b := &bytes.Buffer{}
	l := slog.New(newJSONHandler(b, fixedNow)).With(keySpan, "a", keyTarget, "x")
	l.With(keySpan, "a:b", "k", 1).Log(t.Context(), levelTrace, "m\n", "e", "v", keyTarget, "y")
	const want = `{"time":"2026-11-22T16:04:17.837014Z","level":"TRACE","msg":"m\n","k":1,"target":"y","span":"a:b","thread":"main","e":"v"}` + "\n"
	if b.String() != want {
		t.Errorf("got  %swant %s", b, want)
	}
}
