package cli

import (
	"bytes"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"
)

func fixedNow() time.Time {
	return time.Date(2026, 11, 22, 17, 4, 17, 837014999, time.FixedZone("", 3600))
}

func lines(l Look) (*bytes.Buffer, *slog.Logger) {
	b := &bytes.Buffer{}
	return b, NewLogger(b, LogOptions{Look: l, Now: fixedNow})
}

// TestLineShape pins upstream's stdout lines (P-conf-18), recorded from the 3.4.6 node.
func TestLineShape(t *testing.T) {
	const span = "application_lifecycle:run{service_id=slim/0}"
	for _, tt := range []struct {
		name string
		look Look
		log  func(*slog.Logger)
		want string
	}{
		{"plain", Look{}, func(l *slog.Logger) {
			l.With(KeyTarget, "slim_service::service", KeySpan, span).Info("dataplane server started", "endpoint", "0.0.0.0:1")
		}, "2026-11-22T16:04:17.837014Z  INFO " + span + ": slim_service::service: 0: dataplane server started endpoint=0.0.0.0:1\n"},
		{"thread names widen", Look{ThreadNames: true}, func(l *slog.Logger) {
			l.Info("a")
			l.With(KeyThread, "slim-data-plane").Debug("b")
			l.Error("c")
		}, "2026-11-22T16:04:17.837014Z  INFO main slim: 0: a\n" +
			"2026-11-22T16:04:17.837014Z DEBUG slim-data-plane slim: 0: b\n" +
			"2026-11-22T16:04:17.837014Z ERROR            main slim: 0: c\n"},
		{"thread ids", Look{ThreadNames: true, ThreadIDs: true}, func(l *slog.Logger) {
			l.Warn("a")
			l.With(KeyThread, "w").Warn("b")
		}, "2026-11-22T16:04:17.837014Z  WARN main ThreadId(01) slim: 0: a\n" +
			"2026-11-22T16:04:17.837014Z  WARN    w ThreadId(02) slim: 0: b\n"},
		{"no message", Look{}, func(l *slog.Logger) { l.Info("", "a", 1, "b", 2) }, "2026-11-22T16:04:17.837014Z  INFO slim: 0: a=1 b=2\n"},
		{"no message, field of With", Look{}, func(l *slog.Logger) { l.With("a", 1).Info("", "b", 2) }, "2026-11-22T16:04:17.837014Z  INFO slim: 0: a=1 b=2\n"},
		{"group", Look{}, func(l *slog.Logger) { l.WithGroup("g").Info("m", slog.Group("h", "a", 1), "b", errors.New("e")) },
			"2026-11-22T16:04:17.837014Z  INFO slim: 0: m g.h.a=1 g.b=e\n"},
		{"trace", Look{}, func(l *slog.Logger) { l.Log(t.Context(), LevelTrace, "m") }, "2026-11-22T16:04:17.837014Z TRACE slim: 0: m\n"},
		{"text of peers cannot break a line", Look{}, func(l *slog.Logger) { l.Info("m", "id", "x\n2026 INFO forged\x1b[31m", "raw", "\xff") },
			`2026-11-22T16:04:17.837014Z  INFO slim: 0: m id="x\n2026 INFO forged\x1b[31m" raw="\xff"` + "\n"},
		{"text of peers cannot turn a line around", Look{}, func(l *slog.Logger) { l.Info("m", "id", "a\u202eb\u200b") },
			`2026-11-22T16:04:17.837014Z  INFO slim: 0: m id="a\u202eb\u200b"` + "\n"},
		{"text of peers cannot forge a field", Look{}, func(l *slog.Logger) { l.Info("m", "path", "/x reason=none", "q", `"a b=c`, "error", "a = b") },
			`2026-11-22T16:04:17.837014Z  INFO slim: 0: m path="/x reason=none" q="\"a b=c" error="a = b"` + "\n"},
		{"text of peers is cut", Look{}, func(l *slog.Logger) {
			l.With("with", strings.Repeat("é", 200)).Info("m", "path", strings.Repeat("x", 1<<20))
		},
			"2026-11-22T16:04:17.837014Z  INFO slim: 0: m with=" + strings.Repeat("é", 128) + "… (400 bytes) path=" + strings.Repeat("x", 256) + "… (1048576 bytes)\n"},
		{"characters are not cut", Look{}, func(l *slog.Logger) { l.Info("m", "a", "x"+strings.Repeat("é", 200)) },
			"2026-11-22T16:04:17.837014Z  INFO slim: 0: m a=x" + strings.Repeat("é", 127) + "… (401 bytes)\n"},
		{"a stack may be longer, but not endless", Look{}, func(l *slog.Logger) { l.Info("m", "stack", strings.Repeat("x", 1<<20)) },
			"2026-11-22T16:04:17.837014Z  INFO slim: 0: m stack=" + strings.Repeat("x", 8<<10) + "… (1048576 bytes)\n"},
		{"build info keeps its lines", Look{}, func(l *slog.Logger) { l.Info("", "build_info", BuildInfo{Version: "1"}) },
			"2026-11-22T16:04:17.837014Z  INFO slim: 0: build_info=Version:\t1\nBuild Date:\t\nGit SHA:\t\nProfile:\t\n"},
		{"colours", Look{Colour: true}, func(l *slog.Logger) { l.Info("m") },
			"\x1b[2m2026-11-22T16:04:17.837014Z\x1b[0m \x1b[32m INFO\x1b[0m \x1b[2mslim:\x1b[0m 0: m\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, l := lines(tt.look)
			tt.log(l)
			got := sourceLine.ReplaceAllString(b.String(), "${1}0: ")
			if tt.look.Colour {
				got = strings.Join(strings.Split(got, "\x1b[0m ")[:3], "\x1b[0m ") + "\x1b[0m 0: m\n"
			}
			if got != tt.want {
				t.Errorf("got\n%q\nwant\n%q", got, tt.want)
			}
		})
	}
}

// sourceLine is the number of the source line in a text line.
var sourceLine = regexp.MustCompile(`(?m)^(\S+ +[A-Z]+ .*?\w: )\d+: `)
