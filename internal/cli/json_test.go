package cli

import (
	"bytes"
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
