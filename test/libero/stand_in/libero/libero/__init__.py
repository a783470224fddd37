def get_libero_path(key: str) -> str:
    return {"bddl_files": "/bddl"}[key]
