"""The interface, tried sentence by sentence against what it promises."""
