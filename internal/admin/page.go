package admin

import (
	_ "embed"
	"io"
	"net/http"
)

var (
	//go:embed page/status.html
	statusHTML string
	//go:embed page/status.css
	statusCSS string
	//go:embed page/status.js
	statusJS string
)

// pageFile is a part of the status page.
type pageFile struct{ kind, text string }

var pageFiles = map[string]pageFile{
	"/status":     {"text/html; charset=utf-8", statusHTML},
	"/status.css": {"text/css; charset=utf-8", statusCSS},
	"/status.js":  {"text/javascript; charset=utf-8", statusJS},
}

// pagePolicy lets the page load its own parts and ask its own server, and nothing else: no script that somebody has
// smuggled in runs, and nothing that it shows reaches anybody.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (f pageFile) serve(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	io.WriteString(w, f.text)
}
