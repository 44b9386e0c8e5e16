package admin

import "net/http"

// maxKept is how many bytes of an answer are kept until it is complete.
const maxKept = 256 << 10

// answer is a response that is kept in memory until send, as long as it is not longer than maxKept.
type answer struct {
	http.ResponseWriter
	code   int // 0: none yet
	kept   []byte
	passes bool // it is too long: nothing is kept any more
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(code int) {
	switch {
	case a.passes:
		a.ResponseWriter.WriteHeader(code)
	case a.code == 0:
		a.code = code
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(p []byte) (int, error) {
	if !a.passes && len(a.kept)+len(p) <= maxKept {
		a.kept = append(a.kept, p...)
		return len(p), nil
	}
	a.send()
	return a.ResponseWriter.Write(p)
}

// send writes what is kept.
func (a *answer) send() {
	if a.passes {
		return
	}
	a.passes = true
	if a.code != 0 {
		a.ResponseWriter.WriteHeader(a.code)
	}
	_, _ = a.ResponseWriter.Write(a.kept)
	a.kept = nil
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
