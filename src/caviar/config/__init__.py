"""The config: overrides, resolvers, composing it, and the messages of a config that cannot be."""
