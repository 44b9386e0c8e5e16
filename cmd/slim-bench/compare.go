package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/seed31b3bfd0/slimgo/bench/result"
)

// compareOptions are the flags of compare.
type compareOptions struct {
	alpha            float64
	require, outputs []string
}

func (p *program) compareCommand() *cobra.Command {
	var o compareOptions
	c := &cobra.Command{
		Use: "compare OLD.json NEW.json",
		Long: `slim-bench compare OLD.json NEW.json shows what changed between two results, the first nodes of both: medians, the
change with its interval, and the probability that chance did it (Mann-Whitney). "~" means that it may have. A condition
passes when the whole interval keeps its bound and fails when the whole interval breaks it; what lies between is unclear.
Results of different runs have met different machines: for a gate, measure both builds in one run (slim-bench run
--versus base=…).

Exit codes: 0 all conditions hold; 1 one does not; 2 nothing can be concluded: results are not valid, a case or a metric is
missing, the rounds are too few or too noisy, or the generator was the limit.`,
		Example: `  slim-bench run p2p --rounds 8 --output json > old.json      # then another build
  slim-bench compare old.json new.json
  slim-bench compare old.json new.json --require 'node CPU per delivered / old <= 1.1' --require 'lost / old <= 1'
  slim-bench compare old.json new.json --alpha 0.001 --output html=changes.html
`,
		RunE: func(_ *cobra.Command, args []string) error { return p.compare(&o, args) },
	}
	fs := c.Flags()
	fs.Float64Var(&o.alpha, "alpha", 0.05, "changes with a probability below are called changes; intervals hold with the "+
		"rest of it (0.05: 95 %)")
	fs.StringArrayVar(&o.require, "require", nil, "`CONDITION`: METRIC / old <= NUMBER (or >=), judged in every case that "+
		"has the metric: exit 1 if it does not hold; may be repeated")
	outputFlag(fs, &o.outputs)
	return c
}

func (p *program) compare(o *compareOptions, args []string) error {
	if len(args) != 2 {
		return errors.New("compare what? slim-bench compare OLD.json NEW.json")
	}
	outputs, err := parseOutputs(o.outputs)
	if err != nil {
		return err
	}
	require, err := conditions(o.require)
	if err != nil {
		return err
	}
	before, err := readResults(args[0])
	if err != nil {
		return err
	}
	after, err := readResults(args[1])
	if err != nil {
		return err
	}
	x, err := result.Compare(before, after, o.alpha, require)
	if err != nil {
		return err
	}
	x.Command = p.args
	return p.tell(x, nil, outputs)
}

// conditions reads those of --require.
func conditions(texts []string) ([]result.Condition, error) {
	var all []result.Condition
	for _, s := range texts {
		c, err := result.ParseCondition(s)
		if err == nil {
			err = c.Known()
		}
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

func readResults(path string) (*result.Results, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := result.ReadJSON(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
