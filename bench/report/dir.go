package report

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/seed31b3bfd0/slimgo/bench"
)

// WriteDir writes index.html, summary.md and results.json into dir, which is made if need be.
func WriteDir(dir string, r *bench.Results) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	for name, write := range map[string]func(io.Writer, *bench.Results) error{
		"index.html":   WriteHTML,
		"summary.md":   WriteMarkdown,
		"results.json": func(w io.Writer, r *bench.Results) error { return r.WriteJSON(w) },
	} {
		errs = append(errs, writeFile(filepath.Join(dir, name), r, write))
	}
	return errors.Join(errs...)
}

func writeFile(path string, r *bench.Results, write func(io.Writer, *bench.Results) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f, r), f.Close())
}
