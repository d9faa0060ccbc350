"""The MCP server: the operations of /v1 as tools, for assistants."""
