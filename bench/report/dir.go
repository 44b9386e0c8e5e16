package report

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// MakeDir makes sure that a report can be written into dir, before there is anything to lose.
func MakeDir(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(dir, ".writable-"); err == nil {
			err = errors.Join(probe.Close(), os.Remove(probe.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("no report can be written into %s: %w; name another folder, or make this one writable", dir, err)
	}
	return nil
}

// WriteDir writes index.html, summary.md and results.json into dir, which is made if need be.
func WriteDir(dir string, r *result.Results) error {
	if err := MakeDir(dir); err != nil {
		return err
	}
	var errs []error
	for name, write := range map[string]func(io.Writer, *result.Results) error{
		"index.html":   WriteHTML,
		"summary.md":   WriteMarkdown,
		"results.json": func(w io.Writer, r *result.Results) error { return r.WriteJSON(w) },
	} {
		errs = append(errs, writeFile(filepath.Join(dir, name), r, write))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the report in %s is not complete: %w; make room there, or name another folder", dir, err)
	}
	return nil
}

func writeFile(path string, r *result.Results, write func(io.Writer, *result.Results) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f, r), f.Close())
}
