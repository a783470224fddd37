# Given to CMake as CMAKE_PROJECT_INCLUDE where ROS comes from Python wheels.
#
# The wheels' exported targets name include folders of the machine that built them, and CMake stops at a folder that
# does not exist. This drops those, at the end of each directory, when all its packages have been found.

function(drop_missing_include_folders)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
    if(NOT folders)
      continue()
    endif()
    set(kept "")
    foreach(folder IN LISTS folders)
      # A generator expression ("$<...>") is no path yet: it stays.
      if(folder MATCHES "\\$<" OR EXISTS "${folder}")
        list(APPEND kept "${folder}")
      endif()
    endforeach()
    set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${kept}")
  endforeach()
endfunction()

cmake_language(DEFER CALL drop_missing_include_folders)
