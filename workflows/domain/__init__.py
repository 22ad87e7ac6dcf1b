"""Pure decisions: values in, values out; no await, clock, input or output."""
