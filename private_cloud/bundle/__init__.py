"""The offline hop: one folder, or volumes of a given size, that carries a migration and proves itself over there."""
