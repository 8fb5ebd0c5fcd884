"""The config: overrides, resolvers, composing it, and what is said when it cannot be."""
