package cli

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestJSONLinesHaveEachKeyOnce(t *testing.T) {
	b := &bytes.Buffer{}
	l := NewLogger(b, LogOptions{JSON: true, Now: fixedNow}).With(KeySpan, "a", KeyTarget, "x")
	l.With(KeySpan, "a:b", "k", 1).Log(t.Context(), LevelTrace, "m\n", "e", "v", KeyTarget, "y")
	const want = `{"time":"2026-11-22T16:04:17.837014Z","level":"TRACE","msg":"m\n","k":1,"target":"y","span":"a:b","thread":"main","e":"v"}` + "\n"
	if b.String() != want {
		t.Errorf("got  %swant %s", b, want)
	}
}

func TestJSONTextsAreCut(t *testing.T) {
	b := &bytes.Buffer{}
	long := strings.Repeat("x", 1<<20)
	NewLogger(b, LogOptions{JSON: true, Now: fixedNow}).With("with", long).Info(long, "v", long, "error", errors.New(long),
		slog.Group("g", "v", long), "stack", long, "causes", []string{"a", "b"})
	cut := func(n int) string { return long[:n] + "… (1048576 bytes)" }
	want := `{"time":"2026-11-22T16:04:17.837014Z","level":"INFO","msg":"` + cut(8192) + `","with":"` + cut(256) + `","target":"slim","thread":"main","v":"` +
		cut(256) + `","error":"` + cut(1024) + `","g":{"v":"` + cut(256) + `"},"stack":"` + cut(8192) + `","causes":["a","b"]}` + "\n"
	if b.String() != want {
		t.Errorf("got  %.300swant %.300s", b, want)
	}
}
